"""Recipes whose images, manifests and output are in an object store."""

import io

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.servers import free_port, png
from vision_pipeline.results import load


@pytest.fixture
def files(store):
    return store.files()


@pytest.fixture
def stored(bucket, files):
    """Four images in the bucket."""
    for number in range(4):
        files.pipe_file(f"{bucket}/photos/{number}.png", png(number))
    return f"s3://{bucket}"


@pytest.fixture
def recipe_in_store(recipe, stored, tmp_path):
    document = recipe.model_dump(mode="json", exclude_defaults=True)
    document["source"] = {"path": f"{stored}/photos"}
    document["output"] = {"path": f"{stored}/out", "ledger": str(tmp_path / "ledger.sqlite")}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def told(ended):
    return orjson.loads(ended.out)


def test_a_run_reads_from_the_store_and_writes_into_it(command, recipe_in_store, stored, files):
    ended = command("run", recipe_in_store, "--json")
    assert (ended.code, told(ended)["ok"]) == (0, 4)
    assert told(ended)["results"] == f"{stored}/out/results"
    rows = load(f"{stored}/out")
    assert sorted(rows["item_id"]) == ["0.png", "1.png", "2.png", "3.png"]
    assert rows["image_uri"].str.startswith(f"{stored}/photos/").all()
    names = [name.partition("/out/")[2] for name in files.find(f"{stored}/out")]
    assert sorted(name.partition("/")[0] for name in names) == ["manifests", "results", "runs"]


def test_the_table_in_the_store_is_looked_at_and_gone_on_with(command, recipe_in_store, stored):
    command("run", recipe_in_store)
    assert told(command("status", f"{stored}/out", "--json"))["ok"] == 4
    assert len(told(command("runs", f"{stored}/out", "--json"))) == 1
    assert told(command("retry", f"{stored}/out", "--json"))["items"] == 0
    compacted = command("compact", f"{stored}/out")
    assert (compacted.code, "cannot exchange two folders" in compacted.err) == (2, True)


def test_only_what_has_another_etag_is_asked_again(command, recipe_in_store, bucket, files):
    command("run", recipe_in_store)
    files.pipe_file(f"{bucket}/photos/2.png", png(77))
    files.pipe_file(f"{bucket}/photos/3.png", png(3))  # another time, the same content
    again = told(command("run", recipe_in_store, "--json"))
    assert (again["items"], again["calls"], again["already_answered"]) == (1, 1, 3)


def test_a_manifest_in_the_store_names_images_in_it_by_path_and_by_url(
    command, recipe_in_store, stored, files
):
    lines = f"image,title\nphotos/0.png,a\n{stored}/photos/1.png,b\n{stored}/photos/none.png,c\n"
    files.pipe_file(f"{stored}/list.csv", lines.encode())
    asks = ("run", recipe_in_store, "--source", f"{stored}/list.csv", "--json")
    first = told(command(*asks))
    assert (first["ok"], first["errors"]) == (2, {"source_missing": 1})
    rows = load(f"{stored}/out").set_index("title")
    assert rows["image_version"]["a"] == files.info(f"{stored}/photos/0.png")["ETag"].strip('"')
    files.pipe_file(f"{stored}/photos/1.png", png(99))
    second = told(command(*asks))
    assert (second["items"], second["ok"], second["already_answered"]) == (2, 1, 1)


def test_archives_and_tables_of_images_are_read_in_place(command, recipe_in_store, stored, files):
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [png(5), png(6)]}), file)
    files.pipe_file(f"{stored}/images.parquet", file.getvalue())
    done = told(command("run", recipe_in_store, "--source", f"{stored}/images.parquet", "--json"))
    assert done["ok"] == 2


def test_doctor_looks_at_the_store(command, recipe_in_store, stored):
    out = command("doctor", recipe_in_store).out
    assert f"ok    source: {stored}/photos, first item 0.png" in out
    assert f"ok    output: {stored}/out is writable" in out


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "signature"),
        ({"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, "Could not connect"),
    ],
)
def test_a_store_that_refuses_or_does_not_answer_is_told_in_a_line(
    command, recipe_in_store, monkeypatch, variables, cause
):
    out = yaml.safe_load(recipe_in_store.read_text())["output"]["path"]
    for name, value in (variables | {"AWS_MAX_ATTEMPTS": "1"}).items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    for arguments in (("run", recipe_in_store), ("status", out), ("runs", out), ("retry", out)):
        ended = command(*arguments)
        assert ended.code == 2
        assert cause in ended.err


def test_a_bucket_that_is_not_there_is_not_made(command, recipe_in_store, files):
    ended = command("run", recipe_in_store, "--output", "s3://no-such-bucket/out")
    assert ended.code == 2
    assert "s3://no-such-bucket/out cannot be written" in ended.err
    assert not files.exists("no-such-bucket")


def test_without_a_named_ledger_the_message_tells_both_kinds(command, recipe_in_store):
    ended = command("run", recipe_in_store, "--set", "output.ledger=null")
    assert ended.code == 2
    assert "a local file that keeps the paid replies, or postgresql://" in ended.err
