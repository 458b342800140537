"""What a second run costs after each kind of change: calls, and rows that it writes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vision_pipeline.core.config import RunConfig
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.stored import reparse
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results import load
from vision_pipeline.wiring.backfilling import open_reparse
from vision_pipeline.wiring.services import open_services

PROMPT = """---
version: 1
description: What is on it.
schema: {type: object, properties: {what: {type: string}}, required: [what]}
---
Say what is on this image."""
ALL = 4  # images in the folder

Change = Callable[[Path], object]


def draw(path: Path) -> None:
    Image.new("RGB", (99, 50), (1, 2, 3)).save(path)


def touch(folder: Path) -> None:
    os.utime(folder / "0.png", (1, 1))


def rename(folder: Path) -> None:
    (folder / "0.png").rename(folder / "renamed.png")


def move_down(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "0.png").rename(folder / "deep" / "0.png")


def copy(folder: Path) -> None:
    shutil.copy(folder / "0.png", folder / "copy.png")


def copy_new_one(folder: Path) -> None:
    for number in range(5):
        draw(folder / f"new-{number}.png")


def replace_by_another(folder: Path) -> None:
    shutil.copy(folder / "1.png", folder / "0.png")


FILES: dict[str, tuple[Change, int, int]] = {
    # change: (what is done to the folder, calls, rows)
    "nothing": (lambda folder: None, 0, 0),
    "a new image": (lambda folder: draw(folder / "new.png"), 1, 1),
    "a new image under five names": (copy_new_one, 1, 5),
    "another content": (lambda folder: draw(folder / "0.png"), 1, 1),
    "the content of another image": (replace_by_another, 0, 1),
    "another time, the same content": (touch, 0, 1),
    "another name": (rename, 0, 1),
    "another folder": (move_down, 0, 1),
    "a copy": (copy, 0, 1),
    "a deleted image": (lambda folder: (folder / "0.png").unlink(), 0, 0),
    "a file that is no image": (lambda folder: (folder / "more.txt").touch(), 0, 0),
}

SETTINGS: dict[str, tuple[dict[str, dict[str, object] | str], int, int]] = {
    # change: (keys of the recipe, calls, rows)
    "the model": ({"model": {"name": "ministral-3b-2512"}}, ALL, ALL),
    "the temperature": ({"model": {"temperature": 0.5}}, ALL, ALL),
    "the longest answer": ({"model": {"max_tokens": 900}}, ALL, ALL),
    "the seed": ({"model": {"random_seed": 7}}, ALL, ALL),
    "a field of the body": ({"model": {"extra_body": {"safe_prompt": True}}}, ALL, ALL),
    "the size as sent": ({"image": {"max_side_px": 56}}, ALL, ALL),
    "the format as sent": ({"image": {"format": "jpeg"}}, ALL, ALL),
    "the quality as sent": ({"image": {"quality": 70}}, ALL, ALL),
    "how files are checked": ({"image": {"verify": "structure"}}, 0, 0),
    "the requests in flight": ({"limits": {"max_in_flight": 2}}, 0, 0),
    "the quota": ({"limits": {"requests_per_minute": 1000}}, 0, 0),
    "the retries": ({"retry": {"max_attempts": 2, "timeout_s": 20}}, 0, 0),
    "the budget": ({"budget": {"usd": 5.0}}, 0, 0),
    "the recipe's name": ({"name": "renamed"}, 0, 0),
    "the size of shards": ({"output": {"shard_size": 1}}, 0, 0),
    "a limit of items": ({"source": {"limit": 2}}, 0, 0),
}

PROMPTS: dict[str, tuple[str, str, int, int]] = {
    # change: (old text, new text, calls, rows)
    "its text": ("Say what", "Tell what", ALL, ALL),
    "its schema": ("{what: {type: string}}", "{what: {type: integer}}", ALL, ALL),
    "a property's name": ("what", "which", ALL, ALL),
    "a system message": ("---\nSay", "system: Be brief.\n---\nSay", ALL, ALL),
    "its description": ("What is on it.", "What it shows.", 0, 0),
}


SCHEMAS: dict[str, tuple[str, str, int]] = {
    # change: (old text, new text, stored replies that fit)
    "a wider type": ("{what: {type: string}}", "{what: {type: [string, number]}}", ALL),
    "a bound that all keep": ("{type: string}", "{type: string, minLength: 0}", ALL),
    "an optional key": ("required: [what]", "required: []", ALL),
    "another type": ("{what: {type: string}}", "{what: {type: integer}}", 0),
    "a further key": ("{what: {type: string}}", "{what: {type: string}, why: {type: string}}", 0),
    "a property's name": ("what", "which", 0),
    "no schema": ("{type: object, properties: {what: {type: string}}, required: [what]}", "", ALL),
}


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "what.md"
    path.write_text(PROMPT)
    return path


@pytest.fixture
def asked(recipe: RunConfig, prompt: Path, tmp_path: Path) -> RunConfig:
    """A recipe with a ledger of its own."""
    document = recipe.model_dump(mode="json")
    document["prompt"] = str(prompt)
    document["output"]["ledger"] = str(tmp_path / "paid.sqlite")
    return RunConfig.model_validate(document)


def changed(config: RunConfig, keys: dict[str, dict[str, object] | str]) -> RunConfig:
    document = config.model_dump(mode="json")
    for key, value in keys.items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    return RunConfig.model_validate(document)


async def run(config: RunConfig) -> Summary:
    async with open_services(config) as services:
        return await carry_out(services, analyze_shard)


async def read_again(config: RunConfig) -> Summary:
    async with open_reparse(config, wait=False) as services:
        return await reparse(services, reparse_shard)


async def costs(config: RunConfig, before: int = ALL) -> tuple[int, int]:
    """Calls and rows of one more run; every row of it is an answer."""
    summary = await run(config)
    assert summary.failed == 0
    rows = len(load(config.output.path, runs="all", columns=["status"]))
    assert rows - before == summary.items
    return summary.calls, summary.items


@pytest.mark.parametrize("change", FILES)
async def test_of_files_only_new_content_is_asked_about(asked, pictures, change):
    act, calls, rows = FILES[change]
    assert (await run(asked)).calls == ALL
    act(pictures)
    assert await costs(asked) == (calls, rows)
    assert await costs(asked, ALL + rows) == (0, 0)


@pytest.mark.parametrize("change", SETTINGS)
async def test_of_settings_only_those_that_change_the_answer_ask_again(asked, change):
    keys, calls, rows = SETTINGS[change]
    await run(asked)
    assert await costs(changed(asked, keys)) == (calls, rows)
    assert await costs(changed(asked, keys), ALL + rows) == (0, 0)


@pytest.mark.parametrize("change", PROMPTS)
async def test_of_a_prompt_only_what_the_model_sees_asks_again(asked, prompt, change):
    old, new, calls, rows = PROMPTS[change]
    await run(asked)
    prompt.write_text(PROMPT.replace(old, new))
    assert await costs(asked) == (calls, rows)


@pytest.mark.parametrize("change", SCHEMAS)
async def test_of_a_schema_only_what_does_not_fit_any_more_asks_again(asked, prompt, change):
    old, new, fit = SCHEMAS[change]
    await run(asked)
    head, _, text = PROMPT.rpartition("---")
    prompt.write_text(head.replace(old, new) + "---" + text)
    summary = await read_again(asked)
    assert (summary.calls, summary.ok, summary.items) == (0, fit, ALL)
    assert await costs(asked, 2 * ALL) == (ALL - fit, ALL - fit)
    assert await costs(asked, 3 * ALL - fit) == (0, 0)
    assert (await read_again(asked)).run_id is None


@pytest.mark.parametrize("change", FILES)
async def test_of_files_only_new_content_is_asked_about_after_a_reparse_too(
    asked, prompt, pictures, change
):
    act, calls, rows = FILES[change]
    await run(asked)
    prompt.write_text(PROMPT.replace("{type: string}", "{type: [string, number]}"))
    await read_again(asked)
    act(pictures)
    assert await costs(asked, 2 * ALL) == (calls, rows)
    assert await costs(asked, 2 * ALL + rows) == (0, 0)


async def test_going_back_to_an_earlier_schema_costs_no_call(asked, prompt):
    await run(asked)
    prompt.write_text(PROMPT.replace("{type: string}", "{type: integer}"))
    await read_again(asked)
    prompt.write_text(PROMPT)
    assert await costs(asked, 2 * ALL) == (0, ALL)


async def test_going_back_to_an_earlier_question_costs_no_call(asked):
    await run(asked)
    await run(changed(asked, {"model": {"temperature": 0.5}}))
    assert await costs(asked, 2 * ALL) == (0, ALL)


async def test_another_output_with_the_same_ledger_costs_no_call(asked, tmp_path):
    await run(asked)
    elsewhere = changed(asked, {"output": {"path": str(tmp_path / "elsewhere")}})
    assert await costs(elsewhere, before=0) == (0, ALL)


async def test_another_output_with_a_ledger_of_its_own_asks_again(asked, tmp_path):
    await run(asked)
    output = {"path": str(tmp_path / "elsewhere"), "ledger": None}
    assert await costs(changed(asked, {"output": output}), before=0) == (ALL, ALL)


async def test_another_price_table_costs_no_call(asked, tmp_path, monkeypatch):
    await run(asked)
    (tmp_path / "configs").mkdir()
    rows = "models: [{id: mistral-small-2603, price: {input: 7, output: 9}}]"
    (tmp_path / "configs" / "models.yaml").write_text(rows)
    monkeypatch.chdir(tmp_path)
    assert await costs(asked) == (0, 0)


async def test_a_manifest_column_that_the_prompt_does_not_use_costs_no_call(
    asked, pictures, tmp_path
):
    manifest = tmp_path / "items.csv"
    names = [f"{pictures}/{number}.png" for number in range(ALL)]
    manifest.write_text("image,shop\n" + "".join(f"{name},a\n" for name in names))
    listed = changed(asked, {"source": {"path": None, "manifest": str(manifest)}})
    await run(listed)
    manifest.write_text("image,shop\n" + "".join(f"{name},b\n" for name in names))
    assert await costs(listed) == (0, ALL)  # new rows, since the table shows the column
