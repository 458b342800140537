"""Patterns of archives, files and folders as sources."""

import fsspec
import pytest

from tests.adapters.archiving import (
    complaint_of,
    ids_of,
    png,
    source_of,
    tar_bytes,
    upload,
    zip_bytes,
)
from vision_pipeline.core.errors import SourceError


@pytest.fixture
def bucket(request):
    """The URL of an empty folder in memory."""
    url = f"memory://{request.node.name.replace('[', '-').replace(']', '')}"
    yield url
    file_system, path = fsspec.core.url_to_fs(url)
    file_system.rm(path, recursive=True)


def test_the_archives_of_a_pattern_are_listed_one_after_the_other(tmp_path):
    for number in (2, 1, 10):
        (tmp_path / f"train-{number:02d}.tar").write_bytes(tar_bytes({"a.png": png(number)}))
    (tmp_path / "train-03.zip").write_bytes(zip_bytes({"a.png": png()}))
    source = source_of(tmp_path / "train-*")
    assert ids_of(source) == [
        "train-01.tar/a.png",
        "train-02.tar/a.png",
        "train-03.zip/a.png",
        "train-10.tar/a.png",
    ]
    assert ids_of(source_of(tmp_path / "train-01.t?r")) == ["train-01.tar/a.png"]


def test_a_pattern_takes_files_and_folders_too_by_the_rules_of_a_folder(tmp_path):
    for name in ("a.png", "b.txt", "d/c.png", "d/e/f.png", "dd/g.png", "old.png", ".h.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    source = source_of(tmp_path / "*", exclude=["old*", "dd/"])
    assert ids_of(source) == ["a.png", "d/c.png", "d/e/f.png"]
    assert source.counts == {"not_image": 1, "excluded": 2}
    assert ids_of(source_of(tmp_path / "*" / "*.png")) == ["d/c.png", "dd/g.png"]
    everywhere = ["a.png", "d/c.png", "d/e/f.png", "dd/g.png", "old.png"]
    assert ids_of(source_of(tmp_path / "**" / "*.png")) == everywhere
    assert sorted(ids_of(source_of(tmp_path / "**"))) == everywhere


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    assert "nothing matches" in complaint_of(source_of(tmp_path / "*.tar"))
    assert "nothing matches" in complaint_of(source_of("memory://none/*.tar"))
    with pytest.raises(SourceError, match="NUL"):
        source_of(f"{tmp_path}/nul\0/*")


def test_a_name_with_the_signs_of_a_pattern_is_taken_as_it_is(tmp_path):
    (tmp_path / "photos [1]").mkdir()
    (tmp_path / "photos [1]" / "a.png").write_bytes(png())
    assert ids_of(source_of(tmp_path / "photos [1]")) == ["a.png"]


def test_a_pattern_of_manifests_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"image\n")
    assert "source.manifest" in complaint_of(source_of(tmp_path / "*.csv"))


def test_links_out_of_the_folder_of_a_pattern_are_followed_only_if_asked(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.zip").write_bytes(zip_bytes({"a.png": png()}))
    (tmp_path / "in" / "far.zip").symlink_to(tmp_path / "out.zip")
    (tmp_path / "in" / "self.png").symlink_to(tmp_path / "in" / "self.png")
    source = source_of(tmp_path / "in" / "*")
    assert ids_of(source) == ["self.png"]
    assert source.counts["outside"] == 1
    assert ids_of(source_of(tmp_path / "in" / "*", follow_links=True)) == [
        "far.zip/a.png",
        "self.png",
    ]


def test_a_pattern_in_a_store_is_listed_as_a_local_one_is(bucket):
    upload(f"{bucket}/x/b.tar", tar_bytes({"a.png": png()}))
    upload(f"{bucket}/x/a.zip", zip_bytes({"a.png": png()}))
    upload(f"{bucket}/x/c.png", png())
    upload(f"{bucket}/x/.h.png", png())
    upload(f"{bucket}/x/d/e.png", png())
    source = source_of(f"{bucket}/x/*")
    assert ids_of(source) == ["a.zip/a.png", "b.tar/a.png", "c.png", "d/e.png"]
    assert source.counts["hidden"] == 1
    assert ids_of(source_of(f"{bucket}/*/*.tar")) == ["x/b.tar/a.png"]


def test_a_store_that_cannot_tell_what_matches_is_named(bucket, monkeypatch):
    upload(f"{bucket}/a.png", png())
    file_system, _ = fsspec.core.url_to_fs(bucket)

    def refuse(self, path, **options):
        raise PermissionError(path)

    monkeypatch.setattr(type(file_system), "glob", refuse)
    assert "cannot be listed" in complaint_of(source_of(f"{bucket}/*.png"))


def test_a_list_too_long_to_be_held_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.path._MOST_HELD_MEMBERS", 2)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(tar_bytes({"1.png": png(), "2.png": png()})[:-2000])
    source = source_of(tmp_path / "*.tar")
    assert ids_of(source) == ["a.tar/1.png", "a.tar/2.png", "b.tar/1.png", "b.tar/2.png"]
