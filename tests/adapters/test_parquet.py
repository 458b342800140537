"""Result tables and the store: what is written is read back with pyarrow, pandas and DuckDB."""

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.manifest_cuts import MAX_SHARDS
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.adapters.parquet.table import (
    AFTER_ANSWER,
    BEFORE_ANSWER,
    IMAGE_STRUCT,
    arrow_type,
    result_table,
)
from vision_pipeline.core.columns import ListOf, Scalar, StructOf
from vision_pipeline.core.errors import ErrorCode, OutputError
from vision_pipeline.core.records import RESERVED_COLUMNS, Row
from vision_pipeline.core.selection import Selection

CHOICE = pa.dictionary(pa.int32(), pa.string())
MOMENT = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
NO_COLUMNS = pa.table({"x": [0]}).select([])
LINE = StructOf((("name", Scalar.STRING), ("kind", Scalar.CHOICE), ("on", Scalar.DATE)))


def row(item_id="a.png", **fields):
    usual = {
        "image_uri": f"/images/{item_id}",
        "status": "ok",
        "provider": "mistral",
        "model": "mistral-small-2603",
        "prompt": "describe",
        "prompt_version": "1",
        "question_sha256": "q1",
        "run_id": "r1",
        "shard": 0,
    }
    return Row(**usual | {"item_id": item_id} | fields)


def failed(item_id, code, **fields):
    return row(item_id, status="error", error_code=code, **fields)


def column(kind, *values):
    rows = [row(answer={"field": value}) for value in values]
    table = result_table(
        rows, answer_columns=[("field", kind)], manifest_columns=pa.table({"n": [0] * len(rows)})
    )
    return table["field"]


# --- the table's types


@pytest.mark.parametrize(
    ("kind", "wanted", "value"),
    [
        (Scalar.STRING, pa.string(), "a"),
        (Scalar.INTEGER, pa.int64(), 2**63 - 1),
        (Scalar.NUMBER, pa.float64(), 0.1),
        (Scalar.BOOLEAN, pa.bool_(), True),
        (Scalar.DATE, pa.date32(), date(2026, 2, 28)),
        (Scalar.TIMESTAMP, pa.timestamp("us", tz="UTC"), MOMENT),
        (Scalar.CHOICE, CHOICE, "Food"),
        (Scalar.JSON, pa.string(), '{"a": 1}'),
        (ListOf(Scalar.STRING), pa.list_(pa.string()), ["a", None]),
        (ListOf(Scalar.CHOICE), pa.list_(pa.string()), ["Food"]),
        (ListOf(ListOf(Scalar.INTEGER)), pa.list_(pa.list_(pa.int64())), [[1], []]),
        (
            StructOf((("kind", Scalar.CHOICE), ("at", Scalar.TIMESTAMP))),
            pa.struct([("kind", pa.string()), ("at", pa.timestamp("us", tz="UTC"))]),
            {"kind": None, "at": MOMENT},
        ),
        (
            ListOf(LINE),
            pa.list_(
                pa.struct([("name", pa.string()), ("kind", pa.string()), ("on", pa.date32())])
            ),
            [{"name": "tea", "kind": "Food", "on": date(2026, 1, 1)}],
        ),
    ],
)
def test_an_answer_has_the_type_of_its_schema_and_may_be_null(kind, wanted, value):
    found = column(kind, value, None)
    assert found.type == arrow_type(kind) == wanted
    assert found.to_pylist() == [value, None]


def test_columns_stand_in_a_fixed_order():
    table = result_table(
        [row()],
        answer_columns=[("caption", Scalar.STRING)],
        manifest_columns=pa.table({"store": ["X"]}),
    )
    before, after = [[name for name, _ in own] for own in (BEFORE_ANSWER, AFTER_ANSWER)]
    assert table.column_names == [*before, "store", "caption", *after]
    assert {*before, *after} == set(RESERVED_COLUMNS)


def test_a_shard_of_errors_has_the_whole_schema():
    columns = [("total", Scalar.NUMBER), ("lines", ListOf(LINE)), ("kind", Scalar.CHOICE)]
    items = pa.table({"store": ["X"]})
    answered = row(answer={"total": 1.5, "lines": [], "kind": "Food"}, answered_at=MOMENT)
    tables = [
        result_table([each], answer_columns=columns, manifest_columns=items)
        for each in (failed("a.png", "timeout"), answered)
    ]
    assert tables[0].schema == tables[1].schema
    assert tables[0]["total"].to_pylist() == [None]


def test_the_images_of_a_group_are_a_list_of_structs():
    images = ({"uri": "a.png", "bytes": 7, "width_px": 3}, {"uri": "b.png"})
    table = result_table([row(images=images)], answer_columns=[], manifest_columns=pa.table({}))
    [[first, second]] = table["images"].to_pylist()
    assert table.schema.field("images").type == pa.list_(IMAGE_STRUCT)
    assert (first["bytes"], first["width_px"], second["uri"], second["bytes"]) == (
        7,
        3,
        "b.png",
        None,
    )


# --- a store on disk


FIELDS = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("images", pa.list_(pa.struct([("uri", pa.string())])), nullable=False),
    pa.field("_fingerprint", pa.string()),
]
SCHEMA = pa.schema(FIELDS)


def batch(*item_ids, prints=None, columns=()):
    arrays = [
        pa.array(item_ids, pa.string()),
        pa.array([[{"uri": item_id}] for item_id in item_ids], FIELDS[1].type),
        pa.array(prints or [f"print of {item_id}" for item_id in item_ids]),
    ]
    schema = pa.schema([*FIELDS, *(field for field, _ in columns)])
    return pa.RecordBatch.from_arrays([*arrays, *(values for _, values in columns)], schema=schema)


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    root = {"disk": str(tmp_path / "out"), "memory": f"memory:/{tmp_path}/out"}[request.param]
    return ResultStore(OutputFolder(root))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def on_disk(output):
    return ResultStore(OutputFolder(str(output)))


def freeze(store, run_id, *batches, shard_size=2):
    return store.freeze(run_id, batches, schema=batches[0].schema, shard_size=shard_size)


def finish(store, run_id, *rows, shard=0, answer_columns=(("caption", Scalar.STRING),)):
    store.write_shard(
        run_id,
        shard,
        [row(**{"run_id": run_id, "shard": shard} | each) for each in rows],
        answer_columns=answer_columns,
        items=store.shard_items(run_id, shard),
    )


def whole_run(store, run_id, *rows, prints=None):
    """A run of one shard with its manifest and its run file."""
    freeze(store, run_id, batch(*(each["item_id"] for each in rows), prints=prints), shard_size=99)
    finish(store, run_id, *rows)
    store.write_run(run_id, {"run_id": run_id})


def ids(store, run_id):
    return [
        store.shard_items(run_id, shard)["item_id"].to_pylist()
        for shard in range(len(store.shard_rows(run_id)))
    ]


# --- run files


def test_a_run_file_comes_back(store):
    store.write_run("r2", {"run_id": "r2", "at": MOMENT, "n": [1, None]})
    store.write_run("r1", {})
    assert store.run_ids() == ["r1", "r2"]
    assert store.read_run("r2") == {"run_id": "r2", "at": MOMENT.isoformat(), "n": [1, None]}


def test_the_results_stand_under_the_output(on_disk, output):
    whole_run(on_disk, "r1", {"item_id": "a"})
    assert on_disk.results_path() == str(output / "results")
    assert (output / "results" / "run_id=r1" / "shard-00000.parquet").is_file()


def test_what_is_no_run_file_is_passed_over(store):
    store.write_run("r1", {})
    with store._folder.create("runs/notes.txt") as file:
        file.write(b"mine")
    assert store.run_ids() == ["r1"]


@pytest.mark.parametrize("content", [b"", b'{"run_id": "r', b"5", b"[]", b"\xff"])
def test_a_damaged_run_file_is_named(on_disk, output, content):
    on_disk.write_run("r1", {})
    (output / "runs" / "r1.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"out/runs/r1\.json: cannot be read"):
        on_disk.read_run("r1")


def test_a_run_file_that_is_not_there_is_named(store):
    with pytest.raises(OutputError, match=r"runs/r1\.json"):
        store.read_run("r1")


# --- manifests and shards


def test_a_manifest_is_cut_into_shards(store):
    assert freeze(store, "r1", batch("a", "b", "c"), batch("d"), batch("e")) == 5
    assert ids(store, "r1") == [["a", "b"], ["c", "d"], ["e"]]
    assert (store.item_count("r1"), store.shard_rows("r1")) == (5, [2, 2, 1])
    assert store.has_manifest("r1")
    assert not store.has_manifest("r2")


def test_a_manifest_without_items_has_no_shards(store):
    assert freeze(store, "r1", batch()) == 0
    assert store.shard_rows("r1") == []


def test_a_source_that_fails_leaves_no_manifest(store):
    def batches():
        yield batch("a", "b", "c")
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        store.freeze("r1", batches(), schema=SCHEMA, shard_size=2)
    assert not store.has_manifest("r1")


@given(sizes=st.lists(st.integers(0, 9), max_size=12), shard_size=st.integers(1, 10))
def test_shards_partition_the_items_whatever_the_batches(sizes, shard_size):
    names = [f"item-{number}" for number in range(sum(sizes))]
    left = iter(names)
    batches = [batch(*(next(left) for _ in range(size))) for size in sizes]
    store = ResultStore(OutputFolder("memory://partition"))
    count = store.freeze("r1", batches, schema=SCHEMA, shard_size=shard_size)
    shards = ids(store, "r1")
    assert (count, [name for shard in shards for name in shard]) == (len(names), names)
    assert [len(shard) for shard in shards[:-1]] == [shard_size] * (len(shards) - 1)


def test_very_many_shards_are_merged(on_disk):
    names = [str(number) for number in range(MAX_SHARDS + 3)]
    freeze(on_disk, "r1", batch(*names), shard_size=1)
    last = len(on_disk.shard_rows("r1")) - 1
    found = [on_disk.shard_items("r1", shard)["item_id"].to_pylist() for shard in (0, 1, last)]
    assert last == (MAX_SHARDS + 3) // 2 < MAX_SHARDS
    assert found == [names[:2], names[2:4], names[-1:]]


def test_columns_of_a_manifest_keep_their_exact_types(store):
    columns = [
        (pa.field("price", pa.decimal128(10, 2)), pa.array([Decimal("1.50"), None])),
        (
            pa.field("at", pa.timestamp("ms", tz="Europe/Paris")),
            pa.array([MOMENT, None], pa.timestamp("ms", tz="Europe/Paris")),
        ),
        (pa.field("tags", pa.list_(pa.int16())), pa.array([[1], []], pa.list_(pa.int16()))),
        (
            pa.field("place", pa.struct([("x", pa.float32())])),
            pa.array([{"x": 0.5}, None], pa.struct([("x", pa.float32())])),
        ),
        (pa.field("zip", pa.string()), pa.array(["01234", None])),
        (pa.field("shop", CHOICE), pa.array(["A", None]).dictionary_encode()),
        (pa.field("raw", pa.binary()), pa.array([b"\x00", None])),
    ]
    columns = [(field, values.cast(field.type)) for field, values in columns]
    freeze(store, "r1", batch("a", "b", columns=columns))
    finish(store, "r1", {"item_id": "a"}, {"item_id": "b"})
    names = [field.name for field, _ in columns]
    found = store.read_shard("r1", 0, names)
    assert [found.schema.field(name).type for name in names] == [f.type for f, _ in columns]
    assert [found[name].to_pylist() for name in names] == [v.to_pylist() for _, v in columns]


def test_only_whole_shards_are_finished(store):
    freeze(store, "r1", batch("a", "b", "c"))
    assert store.finished_shards("r1") == set()
    finish(store, "r1", {"item_id": "c"}, shard=1)
    with store._folder.create("results/run_id=r1/shard-00000.parquet.draft") as file:
        file.write(b"half")
    assert store.finished_shards("r1") == {1}


def test_a_finished_shard_gives_some_of_its_columns(store):
    freeze(store, "r1", batch("a", "b"))
    finish(store, "r1", {"item_id": "a", "attempts": 3}, {"item_id": "b"})
    found = store.read_shard("r1", 0, ["item_id", "attempts"])
    assert found.to_pylist() == [{"item_id": "a", "attempts": 3}, {"item_id": "b", "attempts": 0}]


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"PAR1\x00\x00\x00\x00PAR1"])
def test_damaged_manifests_and_shards_are_named(on_disk, output, content):
    whole_run(on_disk, "r1", {"item_id": "a"})
    (output / "manifests" / "r1.parquet").write_bytes(content)
    (output / "results" / "run_id=r1" / "shard-00000.parquet").write_bytes(content)
    with pytest.raises(OutputError, match=r"manifests/r1\.parquet: cannot be read"):
        on_disk.item_count("r1")
    with pytest.raises(OutputError, match=r"shard-00000\.parquet: cannot be read"):
        on_disk.read_shard("r1", 0, ["item_id"])


# --- what is settled


def settled(store, question="q1"):
    table = History(store).settled(question)
    prints, answers = table["_fingerprint"].to_pylist(), table["is_answer"].to_pylist()
    return dict(zip(prints, answers, strict=True))


def test_nothing_is_settled_at_first(store):
    found = History(store).settled("q1")
    assert (found.num_rows, found.schema.names) == (
        0,
        ["_fingerprint", "is_answer", "is_unread", "versions"],
    )


def test_settled_items_tell_the_versions_of_their_images(store):
    group = ({"uri": "a", "version": "v1"}, {"uri": "b", "version": None})
    whole_run(store, "r1", {"item_id": "a", "image_version": "v7"}, {"item_id": "b"})
    whole_run(store, "r2", {"item_id": "c", "images": group}, {"item_id": "d"})
    versions = History(store).settled("q1")["versions"].to_pylist()
    assert versions == [["v7"], [None], ["v1", None], [None]]


def test_answers_are_settled(store):
    whole_run(store, "r1", {"item_id": "a"}, {"item_id": "b"})
    assert settled(store) == {"print of a": True, "print of b": True}


def test_answers_to_another_question_are_not(store):
    whole_run(store, "r1", {"item_id": "a"}, {"item_id": "b", "question_sha256": "q2"})
    assert settled(store, "q2") == {"print of b": True}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_errors_are_settled_where_they_are_permanent(store, code):
    whole_run(store, "r1", {"item_id": "a", "status": "error", "error_code": code.value})
    assert settled(store) == ({} if code.is_transient else {"print of a": False})


def test_the_latest_row_of_an_item_counts(store):
    error = {"status": "error", "error_code": "timeout"}
    whole_run(store, "r1", {"item_id": "a"}, {"item_id": "b"} | error, {"item_id": "c"})
    whole_run(store, "r2", {"item_id": "a"} | error, {"item_id": "b"})
    assert settled(store) == {"print of b": True, "print of c": True}


def test_an_answer_after_a_permanent_error_is_an_answer(store):
    error = {"status": "error", "error_code": "invalid_answer"}
    whole_run(store, "r1", {"item_id": "a"} | error)
    whole_run(store, "r2", {"item_id": "a"})
    assert settled(store) == {"print of a": True}


def test_a_latest_row_for_another_question_unsettles(store):
    whole_run(store, "r1", {"item_id": "a"})
    whole_run(store, "r2", {"item_id": "a", "question_sha256": "q2"})
    assert settled(store, "q1") == {}


def test_the_latest_fingerprint_counts(store):
    whole_run(store, "r1", {"item_id": "a"}, prints=["old"])
    whole_run(store, "r2", {"item_id": "a"}, prints=["new"])
    assert settled(store) == {"new": True}


def test_items_of_a_shard_that_is_not_there_are_pending(store):
    freeze(store, "r1", batch("a", "b", "c", "d", "e"))
    store.write_run("r1", {})
    finish(store, "r1", {"item_id": "a"}, {"item_id": "b"}, shard=0)
    finish(store, "r1", {"item_id": "e"}, shard=2)
    assert list(settled(store)) == ["print of a", "print of b", "print of e"]


def test_a_shard_that_was_removed_makes_its_items_pending_again(on_disk, output):
    whole_run(on_disk, "r1", {"item_id": "a"})
    whole_run(on_disk, "r2", {"item_id": "b"})
    (output / "results" / "run_id=r1" / "shard-00000.parquet").unlink()
    assert settled(on_disk) == {"print of b": True}


def test_a_run_without_its_manifest_settles_nothing(on_disk, output):
    whole_run(on_disk, "r1", {"item_id": "a"})
    (output / "manifests" / "r1.parquet").unlink()
    assert settled(on_disk) == {}


def test_many_runs_settle_what_their_latest_rows_say(store):
    error = {"status": "error", "error_code": "timeout"}
    names = [f"i{number}" for number in range(40)]
    whole_run(store, "r1", *({"item_id": name} for name in names))
    for run in range(2, 6):
        some = names[run::7]
        whole_run(store, f"r{run}", *({"item_id": n} | (error if run % 2 else {}) for n in some))
    last = dict.fromkeys(names, 1) | {n: run for run in range(2, 6) for n in names[run::7]}
    wanted = {f"print of {name}" for name, run in last.items() if run == 1 or not run % 2}
    assert set(settled(store)) == wanted


# --- what failed


def failures(store, *codes):
    return History(store).selected(Selection(codes=tuple(codes))).to_pylist()


def test_nothing_has_failed_at_first(store):
    assert failures(store, "timeout") == []


def test_items_whose_latest_row_is_an_error_have_failed(store):
    refused = {"status": "error", "error_code": "refused_request"}
    timeout = {"status": "error", "error_code": "timeout"}
    whole_run(store, "r1", {"item_id": "a"}, {"item_id": "b"} | refused, {"item_id": "c"} | timeout)
    whole_run(store, "r2", {"item_id": "b"}, {"item_id": "a"} | timeout)
    assert failures(store, "timeout", "refused_request") == ["c", "a"]
    assert failures(store, "refused_request") == []


# --- other readers


@pytest.fixture
def two_runs(on_disk, output):
    columns = [
        ("total", Scalar.NUMBER),
        ("bought_on", Scalar.DATE),
        ("kind", Scalar.CHOICE),
        ("lines", ListOf(LINE)),
    ]
    answer = {"total": 2.5, "bought_on": date(2026, 1, 2), "kind": "Food", "lines": []}
    answer["lines"] = [{"name": "tea", "kind": "Food", "on": None}]
    price = (pa.field("price", pa.decimal128(10, 2)), pa.array([Decimal("1.50"), None]))
    price = (price[0], price[1].cast(price[0].type))
    for run_id, kind in (("20261101T000000Z-aaaa", "Food"), ("20261102T000000Z-bbbb", "Travel")):
        freeze(on_disk, run_id, batch("a.png", "b.png", columns=[price]), shard_size=1)
        good = {"item_id": "a.png", "answer": answer | {"kind": kind}, "answered_at": MOMENT}
        bad = {"item_id": "b.png", "status": "error", "error_code": "timeout"}
        finish(on_disk, run_id, good, shard=0, answer_columns=columns)
        finish(on_disk, run_id, bad, shard=1, answer_columns=columns)
    return output / "results"


def test_pandas_reads_several_runs_with_real_types(two_runs):
    frame = pd.read_parquet(two_runs, dtype_backend="pyarrow")
    good = frame[frame["status"] == "ok"]
    assert len(frame) == 4
    assert sorted(zip(good["run_id"], good["kind"], strict=True)) == [
        ("20261101T000000Z-aaaa", "Food"),
        ("20261102T000000Z-bbbb", "Travel"),
    ]
    assert list(good["bought_on"]) == [date(2026, 1, 2)] * 2
    assert list(good["price"]) == [Decimal("1.50")] * 2
    assert good["answered_at"].dtype == pd.ArrowDtype(pa.timestamp("us", tz="UTC"))


def test_pandas_reads_them_with_its_own_types_too(two_runs):
    frame = pd.read_parquet(two_runs)
    assert frame["total"].sum() == 5.0
    assert frame["error_code"].value_counts()["timeout"] == 2


def test_duckdb_reads_several_runs_with_real_types(two_runs):
    with duckdb.connect() as database:
        results = database.read_parquet(f"{two_runs}/*/*.parquet")
        found = results.aggregate(
            "run_id, sum(total), max(bought_on), max(answered_at), max(price), "
            "any_value(lines[1].name)"
        ).order("run_id")
        types = [str(kind) for kind in found.types]
        rows = found.fetchall()
    assert types == [
        "VARCHAR",
        "DOUBLE",
        "DATE",
        "TIMESTAMP WITH TIME ZONE",
        "DECIMAL(10,2)",
        "VARCHAR",
    ]
    assert rows[1][:3] == ("20261102T000000Z-bbbb", 2.5, date(2026, 1, 2))
    assert rows[0][4:] == (Decimal("1.50"), "tea")


def test_pyarrow_sees_one_dataset(two_runs):
    table = pq.read_table(two_runs)
    assert table.num_rows == 4
    assert table.schema.field("run_id").type == CHOICE
