"""Listing items: folders and what a pattern matches, local and behind fsspec."""

import os
from dataclasses import asdict, fields
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from vision_pipeline.adapters.sources import local_root, open_source
from vision_pipeline.adapters.sources.batches import IMAGE_TYPE
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.records import ImageRef


def folder(path, **settings):
    return open_source(path=str(path), manifest=None, **settings)


def rows_of(source):
    return [row for batch in source.batches() for row in batch.to_pylist()]


def ids_of(source):
    return [row["item_id"] for row in rows_of(source)]


def uris_of(source):
    return [[each["uri"] for each in row["images"]] for row in rows_of(source)]


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")


def complaint_of(source):
    with pytest.raises(SourceError) as caught:
        rows_of(source)
    return str(caught.value)


# --- folders


def test_a_folder_is_listed_depth_first_with_names_in_order(tmp_path):
    put(tmp_path, "b.png", "a/z.jpg", "a/b/c.jpg", "c.JPG", "a.gif")
    assert ids_of(folder(tmp_path)) == ["a/b/c.jpg", "a/z.jpg", "a.gif", "b.png", "c.JPG"]


def test_an_image_has_its_absolute_path_size_and_time_of_change(tmp_path):
    put(tmp_path, "a.png")
    os.utime(tmp_path / "a.png", ns=(1, 1_700_000_000_123_456_789))
    [row] = rows_of(folder(tmp_path))
    image = ImageRef(str(tmp_path / "a.png"), size_bytes=5, version="1700000000123456789")
    assert row == {"item_id": "a.png", "images": [asdict(image)]}


def test_batches_have_the_promised_schema(tmp_path):
    put(tmp_path, "a.png")
    [batch] = folder(tmp_path).batches()
    assert batch.schema.types == [pa.string(), pa.list_(IMAGE_TYPE)]
    assert [field.name for field in IMAGE_TYPE] == [each.name for each in fields(ImageRef)]


def test_a_relative_path_is_taken_from_the_working_folder(tmp_path, monkeypatch):
    put(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path / "in")
    for path in (".", "../in", "a.png"):
        assert uris_of(folder(path)) == [[str(tmp_path / "in" / "a.png")]]


def test_what_is_passed_over_is_counted(tmp_path):
    put(tmp_path, ".hidden.png", ".git/a.png", "notes.txt", "README", "a.png", "old/a.png")
    source = folder(tmp_path, exclude=["old/"])
    assert ids_of(source) == ["a.png"]
    assert source.counts == {"hidden": 2, "not_image": 2, "excluded": 1}
    assert ids_of(source) == ["a.png"]
    assert source.counts["hidden"] == 2


@pytest.mark.parametrize("suffix", ["svg", "eps", "psd", "dds", "heic", "jxl", "mpo", "TIFF"])
def test_formats_that_are_not_decoded_are_listed_all_the_same(tmp_path, suffix):
    put(tmp_path, f"a.{suffix}")
    assert ids_of(folder(tmp_path)) == [f"a.{suffix}"]


def test_include_replaces_the_rule_of_suffixes_without_regard_to_case(tmp_path):
    put(tmp_path, "a.dat", "sub/B.DAT", "c.png", "sub/skip/d.dat")
    source = folder(tmp_path, include=["*.Dat"], exclude=["**/Skip/**"])
    assert ids_of(source) == ["a.dat", "sub/B.DAT"]
    assert source.counts == {"excluded": 2}


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(SourceError, match=r"source\.include"):
        folder("x", include=["!"])


def test_links_that_leave_the_folder_are_followed_only_if_asked(tmp_path):
    put(tmp_path, "in/a.png", "out/b.png", "out/sub/c.png")
    (tmp_path / "in/file.png").symlink_to(tmp_path / "out/b.png")
    (tmp_path / "in/far").symlink_to(tmp_path / "out")
    (tmp_path / "in/near.png").symlink_to(tmp_path / "in/a.png")
    source = folder(tmp_path / "in")
    assert ids_of(source) == ["a.png", "near.png"]
    assert source.counts == {"outside": 2}
    source = folder(tmp_path / "in", follow_links=True)
    assert ids_of(source) == ["a.png", "far/b.png", "far/sub/c.png", "file.png", "near.png"]


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_never_lead_in_circles(tmp_path, follow_links):
    put(tmp_path, "in/a/b.png", "out/c.png")
    (tmp_path / "in/a/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/a/root").symlink_to(tmp_path)
    (tmp_path / "in/far").symlink_to(tmp_path / "out")
    (tmp_path / "in/far2").symlink_to(tmp_path / "out")
    (tmp_path / "out/back").symlink_to(tmp_path / "out")
    (tmp_path / "in/self.png").symlink_to(tmp_path / "in/self.png")
    found = ids_of(folder(tmp_path / "in", follow_links=follow_links))
    assert found == ["a/b.png", *(["far/c.png"] if follow_links else []), "self.png"]


def test_a_link_that_leads_nowhere_stays_an_item_without_a_size(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    [row] = rows_of(folder(tmp_path))
    assert row["images"][0]["size_bytes"] is None
    assert row["images"][0]["version"] == ""


def test_names_that_are_no_utf8_get_ids_that_stay_unique(tmp_path):
    raw = os.fsencode(tmp_path)
    try:
        for name in (b"caf\xe9 100%.png", b"\xff.png", b"%FF.png"):
            Path(os.fsdecode(raw + b"/" + name)).write_bytes(b"image")
    except OSError:
        pytest.skip("the file system refuses such names")
    rows = rows_of(folder(tmp_path))
    ids = {row["item_id"]: row["images"][0]["uri"] for row in rows}
    assert ids == {
        "%FF.png": f"{tmp_path}/%FF.png",
        "caf%E9 100%25.png": f"file://{tmp_path}/caf%E9%20100%25.png",
        "~%FF.png": f"file://{tmp_path}/%FF.png",
    }
    assert all(row["images"][0]["size_bytes"] == 5 for row in rows)


def test_a_single_file_is_one_item(tmp_path):
    put(tmp_path, "a.dat")
    assert ids_of(folder(tmp_path / "a.dat")) == ["a.dat"]
    assert ids_of(folder((tmp_path / "a.dat").as_uri())) == ["a.dat"]


def test_a_manifest_given_as_a_folder_is_refused(tmp_path):
    put(tmp_path, "items.csv")
    assert "source.manifest" in complaint_of(folder(tmp_path / "items.csv"))


@pytest.fixture
def deep(tmp_path):
    """A folder with an image, and 1,500 folders in one another with one at the bottom."""
    made = [tmp_path / "deep"]
    while len(made) <= 1500:
        made.append(made[-1] / "d")
    for each in made:
        each.mkdir()
    (made[0] / "top.jpg").write_bytes(b"image")
    (made[-1] / "a.jpg").write_bytes(b"image")
    yield made[0]
    (made[-1] / "a.jpg").unlink()
    for each in reversed(made[1:]):
        each.rmdir()


def test_folders_may_be_nested_deeper_than_calls_of_functions(deep):
    assert ids_of(folder(deep)) == ["d/" * 1500 + "a.jpg", "top.jpg"]


def test_a_pattern_that_does_not_reach_the_bottom_says_so(deep):
    assert "source.include" in complaint_of(folder(f"{deep}/**/*.jpg"))


def test_a_folder_that_is_missing_is_named(tmp_path):
    assert str(tmp_path / "none") in complaint_of(folder(tmp_path / "none"))


def test_a_folder_without_images_gives_no_batch(tmp_path):
    assert list(folder(tmp_path).batches()) == []


def test_folders_that_cannot_be_read_are_counted_below_and_refused_at_the_top(
    tmp_path, monkeypatch
):
    scandir = os.scandir

    def refusing(path):  # a mode would not stop the superuser, as whom tests may run
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    put(tmp_path, "a.png", "shut/b.png")
    monkeypatch.setattr(os, "scandir", refusing)
    source = folder(tmp_path)
    assert ids_of(source) == ["a.png"]
    assert source.counts == {"unreadable_folders": 1}
    assert "Permission denied" in complaint_of(folder(tmp_path / "shut"))


def test_large_folders_come_in_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.batches.BATCH_ROWS", 2)
    put(tmp_path, "a.png", "b.png", "c.png")
    assert [batch.num_rows for batch in folder(tmp_path).batches()] == [2, 1]


@pytest.mark.parametrize("settings", [{}, {"path": "a", "manifest": "b.csv"}, {"path": None}])
def test_exactly_one_kind_of_source_is_given(settings):
    with pytest.raises(SourceError, match="either"):
        open_source(**settings)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("", ""),
        ("a[1]", "a[1]"),
        ("b.png", "b.png"),
        ("*.png", ""),
        ("c/**/x-*.tar", "c"),
        ("none/../b.png", "b.png"),
        ("link", "c"),
    ],
)
def test_the_root_holds_all_that_a_path_or_pattern_names(tmp_path, path, root):
    put(tmp_path, "a[1]/a.png", "b.png", "c/d.png")
    (tmp_path / "link").symlink_to("c")
    expected = (tmp_path / root).resolve()
    assert local_root(f"{tmp_path}/{path}") == expected
    assert local_root(f"file://{tmp_path}/{path}") == expected


def test_a_url_has_no_local_root():
    assert local_root("s3://bucket/a") is None


# --- folders behind fsspec


@pytest.fixture
def bucket(request):
    """The URL of an empty folder in memory."""
    url = f"memory://{request.node.name}"
    yield url
    file_system, path = fsspec.core.url_to_fs(url)
    if file_system.exists(path):
        file_system.rm(path, recursive=True)


def upload(url, content=b"image"):
    with fsspec.open(url, "wb") as file:
        file.write(content)


def test_a_remote_folder_is_listed_in_the_same_order(bucket):
    for name in ("b.png", "a/z.jpg", ".hidden.png", "notes.txt"):
        upload(f"{bucket}/{name}")
    source = folder(bucket)
    rows = rows_of(source)
    assert [row["item_id"] for row in rows] == ["a/z.jpg", "b.png"]
    [image] = rows[0]["images"]
    assert fsspec.open(image["uri"]).open().read() == b"image"
    assert image["size_bytes"] == 5
    assert image["version"]
    assert source.counts == {"hidden": 1, "not_image": 1}


def test_remote_folders_may_be_nested_deeper_than_calls_of_functions(bucket):
    file_system = fsspec.filesystem("memory")
    name = bucket.removeprefix("memory://") + "/d" * 1500
    file_system.pseudo_dirs += [f"/{name[: len(name) - 2 * up]}" for up in range(1500)]
    upload(f"memory://{name}/a.jpg")
    assert ids_of(folder(bucket)) == ["d/" * 1500 + "a.jpg"]


def test_a_remote_file_is_one_item(bucket):
    upload(f"{bucket}/a.png")
    upload(f"{bucket}/a.csv")
    assert ids_of(folder(f"{bucket}/a.png")) == ["a.png"]
    assert "source.manifest" in complaint_of(folder(f"{bucket}/a.csv"))


@pytest.mark.parametrize("url", ["memory://none", "nosuchscheme://a", "https://example.org/a/"])
def test_a_remote_folder_that_cannot_be_listed_is_refused(url):
    with pytest.raises(SourceError, match=url):
        rows_of(folder(url))


def test_a_remote_folder_below_that_cannot_be_listed_is_counted(bucket, monkeypatch):
    upload(f"{bucket}/shut/a.png")
    upload(f"{bucket}/b.png")
    file_system, _ = fsspec.core.url_to_fs(bucket)
    listed = type(file_system).ls

    def ls(self, path, **options):
        if path.endswith("shut"):
            raise PermissionError(path)
        return listed(self, path, **options)

    monkeypatch.setattr(type(file_system), "ls", ls)
    source = folder(bucket)
    assert ids_of(source) == ["b.png"]
    assert source.counts == {"unreadable_folders": 1}
