"""Listing items: folders and manifests, local and behind fsspec."""

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from vision_pipeline.adapters.sources import open_source
from vision_pipeline.adapters.sources.batches import BATCH_ROWS
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.records import RESERVED_COLUMNS


def folder(path, **settings):
    return open_source(path=str(path), manifest=None, **settings)


def manifest(path, **settings):
    return open_source(path=None, manifest=str(path), **settings)


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
    assert row == {
        "item_id": "a.png",
        "images": [
            {"uri": str(tmp_path / "a.png"), "size_bytes": 5, "version": "1700000000123456789"}
        ],
    }


def test_batches_have_the_promised_schema(tmp_path):
    put(tmp_path, "a.png")
    [batch] = folder(tmp_path).batches()
    image = pa.struct([("uri", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])
    assert batch.schema.types == [pa.string(), pa.list_(image)]


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


# --- manifests

ROWS = [{"image": "a.png", "n": 1, "name": "x"}, {"image": "b.png", "n": 2, "name": "y"}]


def written(path, rows=ROWS):
    suffix = path.name.partition(".")[2]
    if suffix == "parquet":
        pa_parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if suffix.startswith(("jsonl", "ndjson")):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        mark = "\t" if suffix == "tsv" else ","
        lines = [mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]
        text = "\n".join(lines) + "\n"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    return path


@pytest.mark.parametrize(
    "name", ["m.csv", "m.tsv", "m.jsonl", "m.ndjson", "m.parquet", "m.csv.gz", "m.jsonl.gz"]
)
def test_every_kind_of_manifest_gives_the_same_items(tmp_path, name):
    put(tmp_path, "a.png")
    rows = rows_of(manifest(written(tmp_path / name)))
    assert [row["item_id"] for row in rows] == ["a.png", "b.png"]
    assert [(row["n"], row["name"]) for row in rows] == [(1, "x"), (2, "y")]
    assert "image" not in rows[0]
    assert rows[0]["images"][0]["uri"] == str(tmp_path / "a.png")
    assert rows[0]["images"][0]["size_bytes"] == 5
    assert rows[1]["images"] == [
        {"uri": str(tmp_path / "b.png"), "size_bytes": None, "version": ""}
    ]


def test_a_remote_manifest_leads_to_remote_images(bucket):
    upload(f"{bucket}/lists/m.csv", b"image\na.png\n/local.png\ns3://b/c.png\n")
    assert uris_of(manifest(f"{bucket}/lists/m.csv")) == [
        [f"{bucket}/lists/a.png"],
        ["/local.png"],
        ["s3://b/c.png"],
    ]


def test_image_values_may_be_paths_and_urls_of_every_kind(tmp_path):
    put(tmp_path, "sub/a.png")
    values = [
        "sub/a.png",
        str(tmp_path / "sub/a.png"),
        (tmp_path / "sub/a.png").as_uri(),
        "s3://bucket/a.png",
        "https://example.org/a.png?x=1",
        "data:image/png;base64,AAEC",
        "nul\0.png",
    ]
    rows = [{"image": value} for value in values]
    found = rows_of(manifest(written(tmp_path / "m.jsonl", rows)))
    images = [row["images"][0] for row in found]
    local = str(tmp_path / "sub/a.png")
    assert [each["uri"] for each in images[:6]] == [local, local, local, *values[3:6]]
    assert [each["size_bytes"] for each in images] == [5, 5, 5, None, None, None, None]
    assert [row["item_id"] for row in found[:5]] == values[:5]
    assert found[5]["item_id"].startswith("data:")
    assert len(found[5]["item_id"]) == 5 + 16


def test_repeated_values_get_ids_that_stay_unique(tmp_path):
    values = ["a", "a", "a (2)", "a", "b"]
    path = written(tmp_path / "m.jsonl", [{"image": value} for value in values])
    assert ids_of(manifest(path)) == ["a", "a (2)", "a (2) (2)", "a (3)", "b"]


def test_an_empty_value_is_an_item_without_an_address(tmp_path):
    path = written(tmp_path / "m.jsonl", [{"image": None}, {"image": ""}, {"image": "a"}])
    assert [uris[0] for uris in uris_of(manifest(path))][:2] == ["", ""]
    assert len(set(ids_of(manifest(path)))) == 3


def test_ids_may_come_from_a_column_and_keep_their_zeros(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image,sku\na,0071\na,71\n")
    rows = rows_of(manifest(path, id_column="sku"))
    assert [(row["item_id"], row["sku"]) for row in rows] == [("0071", "0071"), ("71", "71")]


def test_groups_that_differ_in_zeros_and_images_named_like_a_group_stay_apart(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image,grp\na,01\nb,1\n01,\nc,\n")
    found = rows_of(manifest(path, group_by="grp"))
    assert [row["item_id"] for row in found] == ["01", "1", "01 (2)", "c"]
    assert [len(row["images"]) for row in found] == [1, 1, 1, 1]


def test_a_text_of_json_that_looks_like_a_date_stays_a_text(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"image": "a", "day": "2026-01-01"}\n')
    assert rows_of(manifest(path))[0]["day"] == "2026-01-01"


def test_text_that_is_not_utf_8_is_refused_with_its_column(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes("image,shop\na,Café\n".encode("latin-1"))
    with pytest.raises(SourceError, match="'shop' is not UTF-8"):
        rows_of(manifest(path))


def test_an_id_column_may_have_the_name_of_the_items_own(tmp_path):
    path = written(tmp_path / "m.csv", [{"image": "a", "item_id": "x"}])
    source = manifest(path, id_column="item_id", reserved=RESERVED_COLUMNS)
    assert ids_of(source) == ["x"]
    assert next(iter(source.batches())).schema.names == ["item_id", "images"]


@pytest.mark.parametrize(("second", "words"), [("x", ["'x'", "row 2"]), (None, ["empty", "row 2"])])
def test_an_id_that_is_repeated_or_empty_is_refused_with_its_row(tmp_path, second, words):
    path = written(tmp_path / "m.jsonl", [{"image": "a", "k": "x"}, {"image": "b", "k": second}])
    complaint = complaint_of(manifest(path, id_column="k"))
    assert all(word in complaint for word in words)


def test_types_are_kept(tmp_path):
    table = pa.table(
        {
            "image": ["a"],
            "i": pa.array([1], pa.int32()),
            "f": [1.5],
            "b": [True],
            "t": pa.array([0], pa.timestamp("ms")),
            "d": pa.array([Decimal("1.10")], pa.decimal128(5, 2)),
            "l": [[1, 2]],
            "s": [{"x": {"y": "z"}}],
            "c": pa.array(["k"]).dictionary_encode(),
        }
    )
    pa_parquet.write_table(table, tmp_path / "m.parquet")
    [batch] = manifest(tmp_path / "m.parquet").batches()
    assert batch.schema.names[2:] == table.schema.names[1:]
    assert [batch.schema.field(name).type for name in table.schema.names[1:]] == (
        table.schema.types[1:]
    )


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_types_can_be_set(tmp_path, name):
    path = written(tmp_path / name)
    [batch] = manifest(path, column_types={"n": "float64"}).batches()
    assert batch.schema.field("n").type == pa.float64()


def test_numbers_in_the_image_column_stay_text(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image\n007\n")
    assert ids_of(manifest(path)) == ["007"]


def test_a_byte_order_mark_and_line_breaks_in_values_are_taken(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b'\xef\xbb\xbfimage,text\r\na,"one\ntwo"\r\n')
    assert rows_of(manifest(path))[0]["text"] == "one\ntwo"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"image,n\n"])
@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_an_empty_manifest_gives_no_batch(tmp_path, content, name):
    if name == "m.jsonl" and b"image" in content:
        content = b""
    (tmp_path / name).write_bytes(content)
    assert list(manifest(tmp_path / name).batches()) == []
    assert list(manifest(tmp_path / name, group_by="image").batches()) == []


def test_long_manifests_come_in_batches_of_bounded_size(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image\n" + "".join(f"s3://b/{n}\n" for n in range(BATCH_ROWS + 5)))
    sizes = [batch.num_rows for batch in manifest(path).batches()]
    assert sum(sizes) == BATCH_ROWS + 5
    assert max(sizes) <= BATCH_ROWS


def test_a_missing_column_names_those_there_are_and_the_nearest(tmp_path):
    path = written(tmp_path / "m.csv", [{"imag": "a", "label": "b"}])
    complaint = complaint_of(manifest(path))
    assert "'image'" in complaint
    assert "imag, label" in complaint
    assert "did you mean 'imag'" in complaint
    assert "did you mean" not in complaint_of(manifest(path, image_column="zzz"))


@pytest.mark.parametrize("key", ["group_by", "id_column"])
def test_other_configured_columns_must_be_there_too(tmp_path, key):
    assert f"source.{key}" in complaint_of(manifest(written(tmp_path / "m.csv"), **{key: "none"}))


def test_types_of_columns_that_are_missing_or_unknown_are_refused(tmp_path):
    path = written(tmp_path / "m.csv")
    assert "column_types" in complaint_of(manifest(path, column_types={"none": "string"}))
    assert "'number'" in complaint_of(manifest(path, column_types={"n": "number"}))


@pytest.mark.parametrize("name", ["status", "item_id", "images"])
def test_reserved_names_are_refused_with_all_of_them(tmp_path, name):
    path = written(tmp_path / "m.csv", [{"image": "a", name: "b"}])
    complaint = complaint_of(manifest(path, reserved=RESERVED_COLUMNS))
    assert f"rename '{name}'" in complaint
    assert "cost_usd" in complaint


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("image,a,a\nx,1,2\n")
    assert "'a'" in complaint_of(manifest(tmp_path / "m.csv"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", b"image,n\na,1\nb\n", "Expected 2 columns"),
        ("m.csv", b"image\n\xe9\n", "UTF8"),
        ("m.jsonl", b'{"image": "a"}\n{"image": \n', "JSON parse error"),
        ("m.jsonl", b'[{"image": "a"}]', "JSON parse error"),
        ("m.parquet", b"no parquet", "Parquet"),
        ("m.csv.gz", b"not packed", "gzip"),
    ],
)
def test_what_cannot_be_parsed_is_named_with_the_cause(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    complaint = complaint_of(manifest(tmp_path / name))
    assert str(tmp_path / name) in complaint
    assert words in complaint


def test_a_type_that_was_guessed_wrong_says_how_to_set_it(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.tables._BLOCK_BYTES", 1000)
    path = tmp_path / "m.csv"
    path.write_text("image,n\n" + "a,1\n" * 1000 + "b,x\n")
    assert "source.column_types" in complaint_of(manifest(path))
    assert len(ids_of(manifest(path, column_types={"n": "string"}))) == 1001


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_manifest_that_is_missing_is_named(tmp_path, name):
    assert f"{name}: there is no such manifest" in complaint_of(manifest(tmp_path / name))


def test_a_manifest_of_an_unknown_kind_names_those_there_are(tmp_path):
    assert ".parquet" in complaint_of(manifest(tmp_path / "m.xlsx"))


# --- groups


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_rows_of_one_group_make_one_item(tmp_path, name):
    rows = [
        {"image": "a1", "pair": 2, "note": "first"},
        {"image": "b1", "pair": 1, "note": "second"},
        {"image": "a2", "pair": 2, "note": "third"},
    ]
    found = rows_of(manifest(written(tmp_path / name, rows), group_by="pair"))
    assert [row["item_id"] for row in found] == ["2", "1"]
    assert [[each["uri"][-2:] for each in row["images"]] for row in found] == [["a1", "a2"], ["b1"]]
    assert [(str(row["pair"]), row["note"]) for row in found] == [("2", "first"), ("1", "second")]


def test_rows_without_a_group_are_items_of_their_own(tmp_path):
    rows = [{"image": "a", "pair": None}, {"image": "a", "pair": None}, {"image": "b", "pair": "p"}]
    assert ids_of(manifest(written(tmp_path / "m.jsonl", rows), group_by="pair")) == [
        "a",
        "a (2)",
        "p",
    ]


def test_groups_and_an_id_column_contradict_each_other():
    with pytest.raises(SourceError, match="id_column"):
        manifest("m.csv", group_by="a", id_column="b")
