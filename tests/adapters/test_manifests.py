"""Listing items out of manifests: tables of images, alone or in groups."""

import gzip
import json
import os
from datetime import date
from decimal import Decimal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from PIL import Image

from vision_pipeline.adapters.sources import json_lines, open_source, tables, text_blocks
from vision_pipeline.adapters.sources.batches import BATCH_ROWS
from vision_pipeline.adapters.sources.manifest import ManifestColumns, ManifestSource
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.records import RESERVED_COLUMNS


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
    [missing] = rows[1]["images"]
    assert missing["uri"] == str(tmp_path / "b.png")
    assert (missing["size_bytes"], missing["version"], missing["page"]) == (None, "", None)


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
        ("m.jsonl", b'{"image": "a"}\n{"image": \n', "line 2 is no JSON"),
        ("m.jsonl", b'[{"image": "a"}]', "line 1 is a list"),
        ("m.jsonl", b'{"image": "a"}\n\n{"image": "\\ud800"}\n', "line 3 is no JSON in UTF-8"),
        (
            "m.jsonl",
            b'\xef\xbb\xbf{"image": "a"}\n{"image": "\xe9"}\n',
            "line 2 is no JSON in UTF-8",
        ),
        (
            "m.jsonl",
            b'{"image": "a", "n": 1}\n{"image": "b", "n": [1]}',
            "line 2 has a list in 'n'",
        ),
        ("m.jsonl", b'{"image": "a", "image": "b"}', "specified twice"),
        ("m.jsonl", b'{"image": "a\\u0000", "n": [\n', "line 1 is no JSON"),
        ("m.jsonl", b'{"n": 1}\n{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "line 2 nests"),
        ("m.jsonl", b'{"x":' + b"[\n" * 20_000, "nests lists or objects more than 32 deep"),
        ("m.csv", "image,n\na,1\n".encode("utf-16"), "encoding"),
        ("m.csv", "image,n\na,1\n".encode("utf-16-be"), "encoding"),
        ("m.tsv", "image\tn\na\t1\n".encode("utf-32"), "encoding"),
        ("m.jsonl", '{"image": "a"}\n'.encode("utf-16"), "encoding"),
        ("m.parquet", b"no parquet", "Parquet"),
        ("m.csv.gz", b"not packed", "gzip"),
    ],
)
def test_what_cannot_be_parsed_is_named_with_the_cause(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    complaint = complaint_of(manifest(tmp_path / name))
    assert str(tmp_path / name) in complaint
    assert words in complaint
    assert complaint.isprintable()


def test_a_line_of_json_that_is_longer_than_a_block_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK_SIZES", (1000,))
    monkeypatch.setattr(text_blocks, "BLOCK_SIZES", (1000,))
    text = json.dumps({"image": "a"}) + "\n" + json.dumps({"image": "a" * 5000}) + "\n"
    (tmp_path / "m.jsonl").write_text(text)
    assert "line 2 is longer than 1000 bytes" in complaint_of(manifest(tmp_path / "m.jsonl"))


def test_a_value_of_json_may_be_nested_32_deep(tmp_path):
    value = json.loads("[" * 31 + "]" * 31)
    (tmp_path / "m.jsonl").write_text(json.dumps({"image": "a", "x": value}))
    assert rows_of(manifest(tmp_path / "m.jsonl"))[0]["x"] == value


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_a_manifest_that_is_a_pipe_or_a_folder_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert "not a regular file" in complaint_of(manifest(tmp_path / name))
    assert "not a regular file" in complaint_of(manifest(f"file://{tmp_path}/{name}"))
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert "not a regular file" in complaint_of(manifest(tmp_path / name))


def test_a_type_that_was_guessed_wrong_says_how_to_set_it(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_SIZES", (1000,))
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


# --- the order within a group


def ordered(path, **columns):
    columns = {"image": "image", "group_by": "set", "order_by": "n"} | columns
    return ManifestSource(str(path), ManifestColumns(**columns))


def values_of(source):
    """The images' values of each item, as the last part of their addresses."""
    return [[uri.rpartition("/")[2] for uri in uris] for uris in uris_of(source)]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_images_of_a_group_follow_numbers_as_numbers_whatever_the_order_of_the_rows(tmp_path, name):
    rows = [
        {"image": "c", "set": "x", "n": 10, "note": "third"},
        {"image": "d", "set": "y", "n": 5, "note": "alone"},
        {"image": "a", "set": "x", "n": 2, "note": "first"},
        {"image": "b", "set": "x", "n": 9, "note": "second"},
    ]
    source = ordered(written(tmp_path / name, rows))
    assert values_of(source) == [["a", "b", "c"], ["d"]]
    assert [(row["item_id"], row["note"]) for row in rows_of(source)] == [
        ("x", "first"),
        ("y", "alone"),
    ]


@pytest.mark.parametrize(
    "values",
    [
        [date(2026, 2, 1), date(2025, 12, 31), date(2026, 11, 1)],
        ["b", "a", "c"],
        [True, False, True],
        [2.5, -1.0, float("nan")],
        [2.5, -1.0, None],
        pa.array(["b", "a", "c"]).dictionary_encode(),
        pa.array(["b", "a", "c"], pa.string_view()),
        pa.array([Decimal("2.50"), Decimal("-1.00"), Decimal("10.00")]),
    ],
)
def test_images_of_a_group_follow_values_of_each_type_and_ties_stay_as_listed(tmp_path, values):
    table = pa.table({"image": ["first", "second", "third"], "set": ["x"] * 3, "n": values})
    pa_parquet.write_table(table, tmp_path / "m.parquet")
    assert values_of(ordered(tmp_path / "m.parquet")) == [["second", "first", "third"]]


def test_values_without_an_order_are_refused_with_their_type(tmp_path):
    table = pa.table({"image": ["a", "b"], "set": ["x", "x"], "n": [[1], [2]]})
    pa_parquet.write_table(table, tmp_path / "m.parquet")
    complaint = complaint_of(ordered(tmp_path / "m.parquet"))
    assert "source.order_by" in complaint
    assert "list<" in complaint


def test_the_column_that_orders_must_be_there(tmp_path):
    path = written(tmp_path / "m.csv", [{"image": "a", "set": "x"}])
    assert "source.order_by" in complaint_of(ordered(path))


# --- several files


def test_files_that_match_a_pattern_follow_one_another_by_name(tmp_path):
    written(tmp_path / "part-2.csv", [{"image": "c", "n": 3}, {"image": "a", "n": 4}])
    written(tmp_path / "part-1.csv", [{"n": 1, "image": "a"}, {"n": 2, "image": "b"}])
    put(tmp_path, "part-3.txt", ".part-0.csv", "part-0.csv/inside")
    rows = rows_of(manifest(tmp_path / "part-*.csv"))
    assert [row["item_id"] for row in rows] == ["a", "b", "c", "a (2)"]
    assert [row["n"] for row in rows] == [1, 2, 3, 4]
    assert rows[2]["images"][0]["uri"] == str(tmp_path / "c")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    written(tmp_path / "m[1].csv", [{"image": "literal"}])
    written(tmp_path / "m1.csv", [{"image": "matched"}])
    assert ids_of(manifest(tmp_path / "m[1].csv")) == ["literal"]


def test_a_pattern_may_name_remote_files(bucket):
    upload(f"{bucket}/b.csv", b"image\nb.png\n")
    upload(f"{bucket}/a.csv", b"image\na.png\n")
    found = [uris[0].lstrip("/") for uris in uris_of(manifest(f"{bucket}/*.csv"))]
    assert [uri.rpartition("/")[2] for uri in found] == ["a.png", "b.png"]
    assert fsspec.core.url_to_fs(found[0])[1] == fsspec.core.url_to_fs(f"{bucket}/a.png")[1]


def damaged_parquet(path):
    """A file of two row groups, of which the second cannot be decoded."""
    table = pa.table({"image": ["a.png", "b.png"], "n": [1, 2]})
    pa_parquet.write_table(table, path, row_group_size=1, compression="zstd", use_dictionary=False)
    at = pa_parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 12] = b"\xff" * 12
    path.write_bytes(data)


def test_a_damaged_parquet_file_among_others_is_an_item_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 1)
    good = pa.table({"image": ["c.png"], "n": [3]})
    (tmp_path / "1.parquet").write_bytes(b"no parquet at all")
    damaged_parquet(tmp_path / "2.parquet")
    pa_parquet.write_table(good, tmp_path / "3.parquet")
    (tmp_path / "4.parquet").write_bytes(b"")
    rows = rows_of(manifest(tmp_path / "*.parquet"))
    assert [(row["item_id"], row["n"]) for row in rows] == [
        ("a.png", 1),
        ("c.png", 3),
        ("1.parquet/(damaged from row 0 on)", None),
        ("2.parquet/(damaged from row 1 on)", None),
        ("4.parquet/(damaged from row 0 on)", None),
    ]
    assert {image["uri"] for row in rows[2:3] for image in row["images"]} == {
        f"parquet://image/(damaged from row 0 on)::{tmp_path}/1.parquet"
    }


@pytest.mark.parametrize("columns", [{}, {"group_by": "n"}])
def test_damage_stops_the_run_where_nothing_is_left_or_groups_would_lack_images(tmp_path, columns):
    (tmp_path / "1.parquet").write_bytes(b"no parquet at all")
    if columns:
        pa_parquet.write_table(pa.table({"image": ["c.png"], "n": [3]}), tmp_path / "2.parquet")
    for name in ("1.parquet", "*.parquet"):
        assert "1.parquet: cannot be read" in complaint_of(manifest(tmp_path / name, **columns))


def test_credentials_of_a_url_stand_in_no_table(tmp_path):
    (tmp_path / "m.csv").write_text(
        "image\nhttps://me:secret@example.org/a.png\nsftp://me:x@h/b.png\n"
    )
    rows = rows_of(manifest(tmp_path / "m.csv"))
    assert [row["item_id"] for row in rows] == [
        "https://***@example.org/a.png",
        "sftp://***@h/b.png",
    ]
    # The one is refused for what stands there, the other cannot be read without.
    assert rows[0]["images"][0]["uri"] == "https://***@example.org/a.png"
    assert rows[1]["images"][0]["uri"] == "sftp://me:x@h/b.png"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.csv", "image;n\na.png;1\n", "delimiter seems to be ';'"),
        ("m.tsv", "image,n\na.png,1\n", "delimiter seems to be ','"),
        ("m.jsonl", '{"image": ["a.png"]}\n', "the image column holds text"),
    ],
)
def test_a_table_that_is_written_otherwise_is_told_how_it_may_be(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    assert told in complaint_of(manifest(tmp_path / name))


def test_a_pattern_without_a_match_is_named(tmp_path, bucket):
    assert "part-*.csv" in complaint_of(manifest(tmp_path / "part-*.csv"))
    assert "*.csv" in complaint_of(manifest(f"{bucket}/*.csv"))


def test_a_place_that_cannot_be_searched_is_named(tmp_path):
    complaint = complaint_of(manifest(str(tmp_path / "a\0*.csv")))
    assert "cannot be searched" in complaint


def test_groups_and_ids_go_over_all_files(tmp_path):
    written(tmp_path / "1.csv", [{"image": "b", "set": "x", "n": 2}])
    written(tmp_path / "2.csv", [{"image": "a", "set": "x", "n": 1}])
    assert values_of(ordered(tmp_path / "[12].csv")) == [["a", "b"]]
    complaint = complaint_of(manifest(tmp_path / "*.csv", id_column="set"))
    assert "2.csv, row 1" in complaint


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ([{"image": "b", "n": "x"}], ["'n' is string", "int64", "source.column_types"]),
        ([{"image": "b"}], ["no column 'n'"]),
        ([{"image": "b", "n": 1, "z": 1}], ["the column 'z'"]),
        ([{"image": b"b", "n": 1}], ["'image' is binary"]),
    ],
)
def test_files_of_different_columns_are_refused_with_the_first_that_differs(
    tmp_path, second, words
):
    written(tmp_path / "1.parquet", [{"image": "a", "n": 1}])
    written(tmp_path / "2.parquet", second)
    complaint = complaint_of(manifest(tmp_path / "?.parquet"))
    assert all(word in complaint for word in ["2.parquet", "1.parquet", *words])


# --- documents of several pages


def draw_tiff(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.new("L", (8, 8), shade) for shade in range(pages)]
    images[0].save(path, save_all=True, append_images=images[1:])


def with_pages(path, **columns):
    pages = Pages(100, 10**6, count_pages=len)  # a PDF here has a page a byte
    return ManifestSource(str(path), ManifestColumns(**({"image": "image"} | columns)), pages)


def pages_of(source):
    return [[each["page"] for each in row["images"]] for row in rows_of(source)]


def test_a_document_gives_an_item_a_page_with_its_rows_columns_repeated(tmp_path):
    draw_tiff(tmp_path / "scan.tif", 3)
    put(tmp_path, "a.png")
    rows = [{"image": name, "n": n} for n, name in enumerate(["a.png", "scan.tif", "b.png"])]
    source = with_pages(written(tmp_path / "m.csv", rows))
    assert [(row["item_id"], row["n"]) for row in rows_of(source)] == [
        ("a.png", 0),
        ("scan.tif#page=1", 1),
        ("scan.tif#page=2", 1),
        ("scan.tif#page=3", 1),
        ("b.png", 2),
    ]
    assert pages_of(source) == [[None], [1], [2], [3], [None]]
    assert set(uris_of(source)[1]) == {str(tmp_path / "scan.tif")}


def test_pages_are_named_after_the_id_column_where_there_is_one(tmp_path):
    draw_tiff(tmp_path / "scan.tif", 2)
    rows = [{"image": "scan.tif", "k": "x"}, {"image": "scan.tif", "k": "y"}]
    source = with_pages(written(tmp_path / "m.csv", rows), id="k")
    assert ids_of(source) == ["x#page=1", "x#page=2", "y#page=1", "y#page=2"]
    rows.append({"image": "a.png", "k": "x#page=2"})
    assert "row 3" in complaint_of(with_pages(written(tmp_path / "m.csv", rows), id="k"))


def test_pages_become_further_images_of_their_group_in_order(tmp_path):
    draw_tiff(tmp_path / "scan.tif", 2)
    rows = [
        {"image": "last.png", "set": "x", "n": 3},
        {"image": "scan.tif", "set": "x", "n": 2},
        {"image": "first.png", "set": "x", "n": 1},
    ]
    source = with_pages(written(tmp_path / "m.csv", rows), group_by="set", order_by="n")
    assert ids_of(source) == ["x"]
    assert pages_of(source) == [[None, 1, 2, None]]


def test_batches_stay_small_when_documents_have_many_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.manifest.BATCH_ROWS", 3)
    monkeypatch.setattr("vision_pipeline.adapters.sources.tables.BATCH_ROWS", 3)
    draw_tiff(tmp_path / "scan.tif", 4)
    rows = [{"image": name, "n": n} for n, name in enumerate(["scan.tif", "a", "b", "c"])]
    batches = list(with_pages(written(tmp_path / "m.csv", rows)).batches())
    assert [batch.column("n").to_pylist() for batch in batches] == [[0, 0, 0], [0, 1, 2], [3]]


def test_a_value_may_name_a_page_itself(tmp_path):
    draw_tiff(tmp_path / "scan.tif", 2)
    values = [
        "scan.tif#page=2",
        "https://example.org/a.pdf?x=1#page=3",
        "s3://bucket/a.pdf#page=1000000",
        (tmp_path / "scan.tif").as_uri() + "#page=1",
        "missing.pdf#page=2",
    ]
    source = with_pages(written(tmp_path / "m.jsonl", [{"image": value} for value in values]))
    assert ids_of(source) == values
    assert pages_of(source) == [[2], [3], [1_000_000], [1], [2]]
    assert [uris[0] for uris in uris_of(source)] == [
        str(tmp_path / "scan.tif"),
        "https://example.org/a.pdf?x=1",
        "s3://bucket/a.pdf",
        str(tmp_path / "scan.tif"),
        str(tmp_path / "missing.pdf"),
    ]


@pytest.mark.parametrize("page", [0, 999_999_999])
def test_a_page_that_no_document_has_is_named_all_the_same(tmp_path, page):
    """Its preparation then says that there is no such page."""
    put(tmp_path, "a.png")
    source = manifest(written(tmp_path / "m.csv", [{"image": f"a.png#page={page}"}]))
    assert uris_of(source) == [[str(tmp_path / "a.png")]]
    assert pages_of(source) == [[page]]


def test_a_file_of_just_that_name_is_no_page(tmp_path):
    put(tmp_path, "a.png#page=2")
    source = manifest(written(tmp_path / "m.csv", [{"image": "a.png#page=2"}]))
    assert uris_of(source) == [[str(tmp_path / "a.png#page=2")]]
    assert pages_of(source) == [[None]]


@pytest.mark.parametrize(
    "value", ["a#page=01", "a#page=-1", "a#page=1000000000", "a#page=x", "a#page=1#b", "#page=1"]
)
def test_what_names_no_page_is_taken_as_it_stands(tmp_path, value):
    source = manifest(written(tmp_path / "m.jsonl", [{"image": value}]))
    assert uris_of(source) == [[str(tmp_path / value)]]
    assert pages_of(source) == [[None]]
