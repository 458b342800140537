"""Parquet manifests that hold the images' own bytes: listed without reading them."""

import os
from io import BytesIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from PIL import Image

from vision_pipeline.adapters.images import ParquetReader
from vision_pipeline.adapters.sources.file_systems import FileSystem
from vision_pipeline.adapters.sources.manifest import ManifestColumns, ManifestSource
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import parse_member
from vision_pipeline.core.records import ImageRef

HUB_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(shade):
    file = BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def hub_rows(*paths):
    return [{"bytes": png(shade), "path": path} for shade, path in enumerate(paths)]


def written(path, images, kind=HUB_TYPE, *, name="image", row_group_size=None, **others):
    table = pa.table({name: pa.array(images, kind), **others})
    pa_parquet.write_table(table, path, row_group_size=row_group_size)
    return path


def listed(path, **columns):
    return ManifestSource(str(path), ManifestColumns(**({"image": "image"} | columns)))


def rows_of(source):
    return [row for batch in source.batches() for row in batch.to_pylist()]


def ids_of(source):
    return [row["item_id"] for row in rows_of(source)]


def images_of(source):
    return [ImageRef(**image) for row in rows_of(source) for image in row["images"]]


def complaint_of(source):
    with pytest.raises(SourceError) as caught:
        rows_of(source)
    return str(caught.value)


def contents_of(source):
    reader = ParquetReader()
    found = [reader.read(parse_member(ref.uri), ref, max_bytes=10**6) for ref in images_of(source)]
    reader.close()
    return found


class CountingFile(BytesIO):
    """A file that remembers how much of it was read."""

    bytes_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data)
        return data


@pytest.fixture
def bucket(request):
    """The URL of an empty folder in memory."""
    url = f"memory://{request.node.name}"
    yield url
    file_system, path = fsspec.core.url_to_fs(url)
    if file_system.exists(path):
        file_system.rm(path, recursive=True)


def test_rows_of_a_hub_data_set_are_items_named_after_their_paths(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows("a.png", "b.png"), label=[3, 4])
    rows = rows_of(listed(path))
    assert [(row["item_id"], row["label"]) for row in rows] == [("a.png", 3), ("b.png", 4)]
    assert "image" not in rows[0]
    assert rows[1]["images"] == [
        {
            "uri": f"parquet://image/1::{path}",
            "size_bytes": None,
            "version": str(path.stat().st_mtime_ns),
            "page": None,
            "offset_bytes": None,
        }
    ]
    assert contents_of(listed(path)) == [png(0), png(1)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.binary(len(png(0))),
        pa.struct([("bytes", pa.large_binary())]),
        pa.struct([("path", pa.large_string()), ("bytes", pa.binary())]),
    ],
)
def test_bytes_of_each_type_are_listed_and_read(tmp_path, kind):
    images = [png(0), png(0)]
    if pa.types.is_struct(kind):
        images = [{"bytes": data, "path": None} for data in images]
    source = listed(written(tmp_path / "m.parquet", images, kind))
    assert ids_of(source) == ["m.parquet#row=0", "m.parquet#row=1"]
    assert contents_of(source) == [png(0), png(0)]


def test_bytes_that_repeat_in_a_dictionary_are_listed_and_read(tmp_path):
    images = pa.array([png(0), png(1), png(0)]).dictionary_encode()
    pa_parquet.write_table(pa.table({"image": images}), tmp_path / "m.parquet")
    assert contents_of(listed(tmp_path / "m.parquet")) == [png(0), png(1), png(0)]


def test_listing_reads_no_bytes_of_images(tmp_path, monkeypatch):
    images = [{"bytes": os.urandom(100_000), "path": f"{n}.png"} for n in range(20)]
    path = written(
        tmp_path / "m.parquet", images, n=list(range(20)), other=pa.array(images, HUB_TYPE)
    )
    file = CountingFile(path.read_bytes())
    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "open", lambda *_, **__: file)
    assert len(ids_of(listed(path))) == 20
    looked_at_first = 16 * 1024 * 1024  # for whether the file is empty
    assert file.bytes_read - min(looked_at_first, path.stat().st_size) < 200_000


def test_rows_are_counted_over_the_whole_file_and_batches_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.tables.BATCH_ROWS", 2)
    path = written(tmp_path / "m.parquet", hub_rows(*"abcde"), row_group_size=3)
    uris = [ref.uri for ref in images_of(listed(path))]
    assert uris == [f"parquet://image/{row}::{path}" for row in range(5)]
    assert contents_of(listed(path)) == [png(shade) for shade in range(5)]


def test_repeated_and_empty_paths_give_unique_ids_over_all_files(tmp_path):
    for name in ("1.parquet", "2.parquet"):
        written(tmp_path / name, hub_rows("a.png", "", "a.png"))
    assert ids_of(listed(tmp_path / "*.parquet")) == [
        "a.png",
        "1.parquet#row=1",
        "a.png (2)",
        "a.png (3)",
        "2.parquet#row=1",
        "a.png (4)",
    ]


def test_an_id_column_wins_over_the_paths(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows("a.png", "b.png"), k=["x", "y"])
    assert ids_of(listed(path, id="k")) == ["x", "y"]


def test_rows_of_bytes_make_groups_in_order(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows(*"abc"), pair=["x", "y", "x"], n=[2, 1, 1])
    rows = rows_of(listed(path, group_by="pair", order_by="n"))
    assert [row["item_id"] for row in rows] == ["x", "y"]
    assert [image["uri"] for image in rows[0]["images"]] == [
        f"parquet://image/2::{path}",
        f"parquet://image/0::{path}",
    ]


def test_names_with_dots_and_slashes_are_columns_like_others(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows("a.png"), name="data/the.image")
    source = listed(path, image="data/the.image")
    assert ids_of(source) == ["a.png"]
    assert contents_of(source) == [png(0)]


def test_a_remote_file_gives_remote_rows(bucket, tmp_path):
    data = written(tmp_path / "m.parquet", hub_rows("a.png")).read_bytes()
    with fsspec.open(f"{bucket}/m.parquet", "wb") as file:
        file.write(data)
    [ref] = images_of(listed(f"{bucket}/m.parquet"))
    assert ref.uri == f"parquet://image/0::{bucket}/m.parquet"
    assert ref.version
    assert contents_of(listed(f"{bucket}/m.parquet")) == [png(0)]


def test_a_file_url_and_names_that_are_no_utf_8_lead_to_the_file(tmp_path):
    path = written(tmp_path / "m é%20.parquet", hub_rows("a.png"))
    assert contents_of(listed(f"file://{path}")) == [png(0)]
    odd = tmp_path / os.fsdecode(b"\xe9.parquet")
    path.rename(odd)
    source = listed(tmp_path / "*.parquet")
    assert contents_of(source) == [png(0)]
    assert images_of(source)[0].version == str(odd.stat().st_mtime_ns)


def test_a_struct_of_paths_alone_names_files_beside_the_manifest(tmp_path):
    (tmp_path / "a.png").write_bytes(png(0))
    kind = pa.struct([("path", pa.string()), ("width_px", pa.int64())])
    rows = [{"path": "a.png", "width_px": 8}, None, {"path": None, "width_px": 8}]
    [first, second, third] = images_of(listed(written(tmp_path / "m.parquet", rows, kind)))
    assert (first.uri, first.size_bytes) == (str(tmp_path / "a.png"), len(png(0)))
    assert (second.uri, third.uri) == ("", "")


def test_paths_are_followed_where_the_file_says_that_no_row_has_bytes(tmp_path):
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    path = written(tmp_path / "m.parquet", rows, row_group_size=1)
    assert [ref.uri for ref in images_of(listed(path))] == [
        str(tmp_path / "a.png"),
        str(tmp_path / "b.png"),
    ]
    rows[1]["bytes"] = png(0)
    path = written(tmp_path / "m.parquet", rows, row_group_size=1)
    assert {parse_member(ref.uri).scheme for ref in images_of(listed(path))} == {"parquet"}


def test_bytes_that_are_said_to_be_text_are_paths(tmp_path):
    path = written(tmp_path / "m.parquet", [b"a.png"], pa.binary())
    [ref] = images_of(listed(path, types={"image": "string"}))
    assert ref.uri == str(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        ([[b"a"]], pa.list_(pa.binary())),
        ([1], pa.int64()),
        (
            [{"bytes": "text", "path": "a"}],
            pa.struct([("bytes", pa.string()), ("path", pa.string())]),
        ),
        ([{"width_px": 1}], pa.struct([("width_px", pa.int64())])),
    ],
)
def test_an_image_column_of_another_type_is_refused_with_its_type(tmp_path, images, kind):
    complaint = complaint_of(listed(written(tmp_path / "m.parquet", images, kind)))
    assert str(kind).partition("<")[0] in complaint
    assert "binary" in complaint
    assert "m.parquet" in complaint


def test_a_missing_image_column_is_named(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows("a.png"))
    assert "'imag'" in complaint_of(listed(path, image="imag"))


def test_other_columns_of_images_are_left_out_and_other_types_stay(tmp_path):
    hashes = pa.array([b"0123"], pa.binary(4))
    nested = pa.array([[{"inner": {"bytes": b"a"}}]])
    path = written(
        tmp_path / "m.parquet",
        hub_rows("a.png"),
        mask=pa.array([{"bytes": b"b", "path": "m"}], HUB_TYPE),
        nested=nested,
        large=nested.cast(pa.large_list(nested.type.value_type)),
        hash=hashes,
        meta=[{"path": "x", "n": 1}],
        view=pa.array([b"v"], pa.binary_view()),
        views=pa.array([[{"text": "v"}]], pa.list_(pa.struct([("text", pa.string_view())]))),
        tags=[["t"]],
    )
    [row] = rows_of(listed(path))
    assert {name: row[name] for name in row if name not in {"item_id", "images"}} == {
        "hash": b"0123",
        "meta": {"path": "x", "n": 1},
        "view": b"v",
        "views": [{"text": "v"}],
        "tags": ["t"],
    }


def test_a_file_that_is_compressed_as_a_whole_is_refused(tmp_path):
    path = written(tmp_path / "m.parquet", hub_rows("a.png"))
    packed = tmp_path / "m.parquet.gz"
    with fsspec.open(str(packed), "wb", compression="gzip") as file:
        file.write(path.read_bytes())
    assert "unpack it" in complaint_of(listed(packed))


def test_a_name_that_cannot_stand_in_a_reference_is_refused(tmp_path):
    path = written(tmp_path / "a::b.parquet", hub_rows("a.png"))
    assert "rename it" in complaint_of(listed(path))


def test_a_remote_file_that_cannot_be_looked_up_is_named(bucket, tmp_path, monkeypatch):
    data = written(tmp_path / "m.parquet", hub_rows("a.png")).read_bytes()
    with fsspec.open(f"{bucket}/m.parquet", "wb") as file:
        file.write(data)
    file_system: FileSystem = fsspec.core.url_to_fs(bucket)[0]

    def info(self, path, **options):
        raise PermissionError(path)

    monkeypatch.setattr(type(file_system), "info", info)
    assert f"{bucket}/m.parquet" in complaint_of(listed(f"{bucket}/m.parquet"))
