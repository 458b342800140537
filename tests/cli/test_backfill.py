"""A changed schema over stored replies, by the command line, against an emulator that counts."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from vision_pipeline.results import load
from vision_pipeline.results.table import open_folder, read_latest

ITEMS = 24
START = [sys.executable, "-c", "from vision_pipeline.cli.app import main; main()"]
OLD = {
    "count": {"type": "integer", "minimum": 0, "maximum": 9},
    "kind": {"type": "string", "enum": ["cat", "dog", "bird"]},
    "note": {"type": "string", "maxLength": 8},
}


def write_prompt(path: Path, properties: dict[str, object], text: str = "Count.") -> None:
    schema = {"type": "object", "properties": properties, "required": ["count", "kind"]}
    head = {"version": "1", "description": "d", "schema": schema}
    path.write_text(f"---\n{yaml.safe_dump(head)}---\n{text}")


@pytest.fixture
def prompt(tmp_path):
    path = tmp_path / "count.md"
    write_prompt(path, OLD)
    return path


@pytest.fixture
def counted(tmp_path, recipe, prompt, command):
    """The file of a recipe over 24 images that were all answered under the old schema."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(ITEMS):
        Image.new("RGB", (30, 20), (9 * number, 5, 1)).save(folder / f"{number:02}.png")
    document = recipe.model_dump(mode="json", exclude_defaults=True)
    document |= {"source": {"path": str(folder)}, "prompt": str(prompt)}
    document["output"]["shard_size"] = 5
    path = tmp_path / "count.yaml"
    path.write_text(yaml.safe_dump(document))
    assert command("run", path).code == 0
    return path


def received(emulator):
    return int(httpx.get(f"{emulator.base_url}/_emulator/stats").json()["received"])


def frame(recipe):
    return load(recipe.output.path).set_index("item_id")


def test_a_wider_type_and_a_new_category_cost_no_call(command, counted, prompt, recipe, synthetic):
    before, asked = frame(recipe), received(synthetic)
    wider = OLD | {
        "count": {"type": "number"},
        "kind": {"type": "string", "enum": ["cat", "dog", "bird", "fish"]},
    }
    write_prompt(prompt, wider)
    ended = command("backfill", counted, "--reparse")
    assert (ended.code, received(synthetic)) == (0, asked)
    assert f"{ITEMS} stored replies to read, 0 errors without a reply" in ended.err
    assert f"{ITEMS} stored replies fit, 0 errors, 0 calls" in ended.out
    after = frame(recipe)
    assert after["count"].dtype.pyarrow_dtype == pa.float64()
    assert (after["count"] == before["count"]).all()
    assert (after["kind"] == before["kind"]).all()
    assert json.loads(command("run", counted, "--json").out)["already_answered"] == ITEMS
    assert received(synthetic) == asked


def test_a_run_asks_exactly_for_what_does_not_fit(command, counted, prompt, recipe, synthetic):
    before, asked = frame(recipe), received(synthetic)
    narrow = OLD | {"kind": {"type": "string", "enum": ["cat", "dog", "fish"]}}
    write_prompt(prompt, narrow)
    birds = set(before.index[before["kind"] == "bird"])
    assert 0 < len(birds) < ITEMS
    ended = command("backfill", counted, "--reparse", "--json")
    summary = json.loads(ended.out)
    assert (ended.code, summary["calls"], received(synthetic)) == (1, 0, asked)
    assert summary["errors"] == {"invalid_answer": len(birds)}
    between = frame(recipe)
    assert set(between.index[between["status"] == "error"]) == birds
    assert between.loc[sorted(birds), "reply_text"].notna().all()

    summary = json.loads(command("run", counted, "--json").out)
    assert (summary["items"], summary["calls"]) == (len(birds), len(birds))
    assert received(synthetic) == asked + len(birds)
    after = frame(recipe)
    assert set(after["status"]) == {"ok"}
    others = after.index.difference(sorted(birds))
    assert (after.loc[others, "count"] == before.loc[others, "count"]).all()
    assert set(after["kind"]) <= {"cat", "dog", "fish"}


def test_a_key_that_is_gone_is_dropped_and_a_renamed_one_is_asked_for(
    command, counted, prompt, recipe, synthetic
):
    asked = received(synthetic)
    write_prompt(prompt, {name: OLD[name] for name in ("count", "kind")})
    assert command("backfill", counted, "--reparse").code == 0
    assert load(recipe.output.path)["status"].eq("ok").all()
    assert "note" not in read_latest(open_folder(recipe.output.path)).column_names

    write_prompt(prompt, {name: OLD[name] for name in ("count", "kind")} | {"hint": OLD["note"]})
    ended = command("backfill", counted, "--reparse")
    assert (ended.code, received(synthetic)) == (1, asked)
    assert f"0 stored replies fit, {ITEMS} errors" in ended.out
    assert "the next `vision-pipeline run` asks about these" in ended.out
    assert json.loads(command("run", counted, "--json").out)["calls"] == ITEMS
    assert "hint" in load(recipe.output.path).columns


def test_a_touched_image_is_answered_from_the_ledger_after_a_reparse(
    command, counted, prompt, synthetic, tmp_path
):
    write_prompt(prompt, {"count": {"type": "number"}, "kind": OLD["kind"]})
    command("backfill", counted, "--reparse")
    asked = received(synthetic)
    os.utime(tmp_path / "many" / "03.png", (1, 1))
    summary = json.loads(command("run", counted, "--json").out)
    assert (summary["items"], summary["from_ledger"], received(synthetic)) == (1, 1, asked)


def test_neither_server_nor_images_are_needed(command, counted, prompt, tmp_path):
    for path in (tmp_path / "many").iterdir():
        path.unlink()
    write_prompt(prompt, OLD | {"count": {"type": "number"}})
    elsewhere = ("--set", "model.base_url=http://127.0.0.1:9/v1")
    assert command("backfill", counted, "--reparse", *elsewhere).code == 0


def test_another_model_is_named(command, counted, prompt):
    other = ("--set", "model.name=ministral-3b-2512")
    ended = command("backfill", counted, "--reparse", *other)
    assert ended.code == 2
    assert "model.name was 'mistral-small-2603', and is 'ministral-3b-2512'" in ended.err


def test_a_second_reparse_has_nothing_to_do(command, counted, prompt):
    write_prompt(prompt, OLD | {"count": {"type": "number"}})
    command("backfill", counted, "--reparse")
    ended = command("backfill", counted, "--reparse")
    assert ended.code == 0
    assert "nothing to do" in ended.out
    assert f"{ITEMS} read under this schema before" in ended.err
    assert f"left alone, read under this schema before: {ITEMS} answered, 0 errors" in ended.out


def test_a_log_has_a_record_of_what_was_found_and_of_each_failure(command, counted, prompt):
    write_prompt(prompt, OLD | {"why": {"type": "string"}})
    ended = command("backfill", counted, "--reparse", "--log-format", "json")
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert records[0]["replied"] == ITEMS
    assert sum(each.get("error_code") == "invalid_answer" for each in records) == ITEMS
    assert records[-1]["calls"] == 0


def test_other_commands_know_a_reparse_as_a_run(command, counted, prompt, recipe):
    write_prompt(prompt, OLD | {"count": {"type": "number"}})
    command("backfill", counted, "--reparse")
    runs = json.loads(command("runs", recipe.output.path, "--json").out)
    assert [(run["items"], run["ok"], run["calls"]) for run in runs] == [
        (ITEMS, ITEMS, ITEMS),
        (ITEMS, ITEMS, 0),
    ]
    assert "count v1, mistral-small-2603, reparse" in command("runs", recipe.output.path).out
    assert f"{ITEMS} items: {ITEMS} answered" in command("status", recipe.output.path).out
    assert command("compact", recipe.output.path).code == 0
    write_prompt(prompt, OLD | {"count": {"type": "integer"}})
    ended = command("backfill", counted, "--reparse")  # out of compacted files
    assert f"{ITEMS} stored replies fit" in ended.out
    assert command("retry", recipe.output.path).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "backfill: say which items"),
        (["--reparse", "--output", "nowhere"], "nowhere: no runs here"),
        (["--reparse", "--set", "prompt=nothing_like_it"], "no template"),
        (["--reparse", "--limit", "3"], "No such option"),
    ],
)
def test_bad_usage_exits_2_and_changes_nothing(command, counted, tmp_path, arguments, told):
    ended = command("backfill", counted, *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    assert not Path("nowhere").exists()


def test_another_text_of_the_prompt_is_refused(command, counted, prompt):
    write_prompt(prompt, OLD, text="Count them all.")
    ended = command("backfill", counted, "--reparse")
    assert ended.code == 2
    assert f"none of {ITEMS} items was asked this question" in ended.err
    assert "count.md has changed" in ended.err


def test_a_killed_reparse_is_finished_by_the_same_command(
    counted, prompt, recipe, synthetic, tmp_path
):
    asked = received(synthetic)
    write_prompt(prompt, OLD | {"count": {"type": "number"}})
    arguments = ["backfill", str(counted), "--reparse", "--engine", "local"]
    results = tmp_path / "out" / "results"
    killed = [sys.executable, "-c", SLOW, *arguments]
    with subprocess.Popen(killed, stderr=subprocess.DEVNULL) as process:
        while len(list(results.glob("*/shard-*.parquet"))) < ITEMS // 5 + 3:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    ended = subprocess.run(
        [*START, *arguments, "--json"], check=True, capture_output=True, text=True
    )
    summary = json.loads(ended.stdout)
    assert (summary["resumed"], summary["items"], summary["ok"]) == (True, ITEMS, ITEMS)
    rows = load(recipe.output.path, runs=summary["run_id"])
    assert len(rows) == rows["item_id"].nunique() == ITEMS
    assert received(synthetic) == asked


# The command in a process that never gets past its third shard, so that it can be killed there.
SLOW = """
import threading
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.cli.app import main

write = ResultStore.write_shard

def write_some(self, run_id, shard, rows, **more):
    if shard > 2:
        threading.Event().wait()
    write(self, run_id, shard, rows, **more)

ResultStore.write_shard = write_some
main()
"""


def test_an_interrupted_reparse_exits_3_and_goes_on(counted, prompt, recipe, tmp_path):
    write_prompt(prompt, OLD | {"count": {"type": "number"}})
    arguments = ["backfill", str(counted), "--reparse", "--engine", "local"]
    results = tmp_path / "out" / "results"
    stopping = [sys.executable, "-c", INTERRUPTED, *arguments]
    ended = subprocess.run(stopping, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 3
    assert "the same command goes on from here" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ITEMS // 5 + 1 < len(list(results.glob("*/shard-*.parquet"))) < 2 * (ITEMS // 5 + 1)
    ended = subprocess.run([*START, *arguments], check=True, capture_output=True, text=True)
    assert "a reparse that was cut off is finished" in ended.stdout
    assert len(load(recipe.output.path, runs="all")) == 2 * ITEMS


# The command in a process that gets Ctrl-C after its second shard.
INTERRUPTED = """
import os, signal
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.cli.app import main

write = ResultStore.write_shard

def write_some(self, run_id, shard, rows, **more):
    write(self, run_id, shard, rows, **more)
    if shard == 1:
        os.kill(os.getpid(), signal.SIGINT)

ResultStore.write_shard = write_some
main()
"""

# --- some items of a source


def asked_by(command, emulator, *arguments):
    """How a backfill ended, its summary, and how many requests it made."""
    before = received(emulator)
    ended = command("backfill", *arguments, "--json")
    return ended, json.loads(ended.out), received(emulator) - before


@pytest.fixture
def half(counted, recipe, prompt):
    """The recipe with another question, and files of which the first half is of October."""
    write_prompt(prompt, OLD, text="Count again.")
    folder = Path(yaml.safe_load(counted.read_text())["source"]["path"])
    for number, file in enumerate(sorted(folder.iterdir())):
        day = datetime(2026, 10 if number < ITEMS // 2 else 11, 1 + number, tzinfo=UTC)
        os.utime(file, (day.timestamp(), day.timestamp()))
    return counted


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--since", "2026-11-01"), range(12, 24)),
        (("--until", "2026-11-01"), range(12)),
        (("--since", "2026-10-03", "--until", "2026-10-05"), (2, 3)),
        (("--slice", "20:"), range(20, 24)),
        (("--slice", ":3"), range(3)),
        (("--slice", "10:20", "--since", "2026-11-01"), range(12, 20)),
        (("--prompt", "count@1"), range(24)),
        (("--model", "mistral-small-2603", "--slice", "5:7"), (5, 6)),
    ],
)
def test_a_selection_asks_about_its_items_and_no_others(
    command, half, synthetic, options, expected
):
    ended, summary, calls = asked_by(command, synthetic, half, *options)
    assert (ended.code, summary["items"], calls) == (0, len(expected), len(expected))
    rows = load(str(Path(summary["results"]).parent), runs=summary["run_id"])
    assert sorted(rows["item_id"]) == [f"{number:02}.png" for number in expected]
    assert f"{len(expected)} items to ask about" in ended.err
    _, again, calls = asked_by(command, synthetic, half, *options)
    assert (again["items"], calls) == (0, 0)


def test_errors_are_asked_about_by_their_code(command, counted, prompt, recipe, synthetic):
    write_prompt(prompt, OLD | {"kind": {"type": "string", "enum": ["cat", "dog", "fish"]}})
    command("backfill", counted, "--reparse")
    rows = frame(recipe)
    birds = sorted(rows.index[rows["status"] == "error"])
    assert len(birds) > 1
    options = ("--code", "invalid_answer", "--chunk", "1", "--pause", "0.01")
    ended, summary, calls = asked_by(command, synthetic, counted, *options)
    assert (ended.code, summary["items"], calls) == (0, len(birds), len(birds))
    assert f"in {len(birds)} chunks of at most 1, 0.01 s between them" in ended.err
    assert "backfill" not in command("runs", recipe.output.path).out
    assert frame(recipe)["status"].eq("ok").all()


def test_a_manifest_column_has_the_time(command, half, recipe, synthetic):
    folder = yaml.safe_load(half.read_text())["source"]["path"]
    lines = [f"{folder}/{n:02}.png,2026-{1 + n % 12:02}-15" for n in range(ITEMS)]
    manifest = half.with_name("list.csv")
    manifest.write_text("\n".join(["image,taken", *lines]))
    options = ("--since", "2026-03-01", "--until", "2026-04-01", "--date-column", "taken")
    _, summary, calls = asked_by(command, synthetic, half, "--source", manifest, *options)
    assert (summary["items"], calls) == (2, 2)
    about = "backfill by since 2026-03-01T00:00:00Z"
    assert about in command("runs", recipe.output.path).out


def test_a_dry_run_counts_and_asks_nothing(command, half, recipe, synthetic):
    before, runs = received(synthetic), len(load(recipe.output.path, runs="all"))
    ended = command("backfill", half, "--since", "2026-11-05", "--dry-run", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["items"], found["to_ask"]) == (0, 12, 12)
    assert found["skipped"] == {"not_selected": 12}
    assert "12 calls" in " ".join(
        command("backfill", half, "--slice", ":12", "--dry-run").out.split()
    )
    assert (received(synthetic), len(load(recipe.output.path, runs="all"))) == (before, runs)


def test_a_budget_stops_a_backfill_and_the_same_command_with_more_finishes_it(
    command, half, recipe, synthetic
):
    options = (half, "--slice", ":8", "--chunk", "2")
    ended = command("backfill", *options, "--max-cost", "0.0000001")
    assert (ended.code, "budget" in ended.err) == (3, True)
    finished, summary, _ = asked_by(command, synthetic, *options, "--max-cost", "5")
    assert (finished.code, summary["items"], summary["ok"]) == (0, 8, 8)
    assert "left of 8 of a run that was cut off" in finished.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "backfill: say which items: by time (since, until)"),
        (("--reparse", "--slice", ":3"), "a reparse goes through all stored replies"),
        (("--reparse", "--fresh"), "it takes no selection, no chunks and no `fresh`"),
        (("--reparse", "--dry-run"), "--reparse makes no call"),
        (("--slice", "3"), "--slice 3: expected START:STOP, such as 1000:2000"),
        (("--slice", ":"), "--slice :: expected START:STOP"),
        (("--slice", "5:5"), "`stop` has to be larger than `start`"),
        (("--slice", ":0"), "--slice: '0' is not allowed; allowed: a whole number from 1"),
        (("--since", "last week"), "--since: 'last week' is not allowed; allowed: a time such as"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "`until` has to be later"),
        (("--date-column", "x", "--slice", ":1"), "`date_column` needs `since` or `until`"),
        (("--since", "2026-01-01", "--date-column", "x"), "date_column: x: no such column in the"),
        (("--prompt", "@1"), "--prompt: '@1' is not allowed; allowed: NAME or NAME@VERSION"),
        (("--prompt", "other"), "prompt: no run here asked other; there are: count@1"),
        (("--slice", ":3", "--pause", "5"), "a pause lies between chunks"),
        (("--slice", ":3", "--chunk", "0"), "--chunk"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_in_a_line(command, counted, synthetic, options, told):
    before = received(synthetic)
    ended = command("backfill", counted, *options)
    assert ended.code == 2
    assert told in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert received(synthetic) == before
