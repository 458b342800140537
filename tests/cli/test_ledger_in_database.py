"""A recipe whose ledger is in PostgreSQL, from the command line."""

import json
import sys
from pathlib import Path

import pytest

from tests.servers import PASSWORD

DATABASE = "PAID_REPLIES_PASSWORD"


@pytest.fixture
def shared(database, recipe_file, monkeypatch):
    """What to add to a command so that its ledger is in the database."""
    monkeypatch.setenv(DATABASE, PASSWORD)
    return [
        *("--set", f"output.ledger={database.url}"),
        *("--set", f"output.ledger_password_env={DATABASE}"),
    ]


def everything_below(folder):
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def test_a_run_pays_into_the_database_and_another_output_takes_it_from_there(
    command, recipe_file, recipe, shared, tmp_path
):
    first = command("run", recipe_file, *shared, "--json")
    assert json.loads(first.out)["calls"] == 4
    assert not (tmp_path / "out" / "ledger.sqlite").exists()
    second = command("run", recipe_file, *shared, "--output", tmp_path / "other", "--json")
    assert json.loads(second.out)["from_ledger"] == 4
    assert json.loads(second.out)["calls"] == 0
    assert PASSWORD.encode() not in everything_below(tmp_path)
    assert PASSWORD not in first.err + second.err


def test_the_ledger_commands_take_the_output_or_the_database_itself(
    command, recipe_file, shared, database, monkeypatch
):
    command("run", recipe_file, *shared)
    output = recipe_file.parent / "out"
    by_output = json.loads(command("ledger", "inspect", output, "--json").out)
    assert (by_output["path"], by_output["replies"]) == (database.url, 4)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert json.loads(command("ledger", "inspect", database.url, "--json").out) == by_output
    assert "sound; all 4 replies can be used" in command("ledger", "verify", database.url).out
    pruned = command("ledger", "prune", database.url, "--before", "2030-01-01", "--yes")
    assert "deleted 4 replies" in pruned.out
    assert json.loads(command("ledger", "inspect", database.url, "--json").out)["replies"] == 0


def test_replies_are_exported_from_the_database(command, recipe_file, recipe, shared, tmp_path):
    command("run", recipe_file, *shared)
    out = command("ledger", "export", recipe.output.path, "--out", tmp_path / "all.jsonl").out
    assert out.startswith("4 replies")
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 4


def test_doctor_looks_at_the_database(command, recipe_file, shared, database):
    assert (
        f"ok    ledger: {database.url}: answers; a run makes"
        in command("doctor", recipe_file, *shared).out
    )
    command("run", recipe_file, *shared)
    assert "answers; 4 replies" in command("doctor", recipe_file, *shared).out


def test_salvage_is_for_files(command, database):
    ended = command("ledger", "salvage", database.url)
    assert ended.code == 2
    assert "is for files; a database is mended" in ended.err


@pytest.mark.parametrize("name", ["inspect", "salvage"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(command, name):
    ended = command("ledger", name, "postgresql://user:hush@host/db")
    assert ended.code == 2
    assert "PGPASSWORD" in ended.err
    assert "hush" not in ended.err


def test_a_password_in_a_recipe_is_refused_and_not_repeated(command, recipe_file, tmp_path):
    ended = command("run", recipe_file, "--set", "output.ledger=postgresql://user:hush@host/db")
    assert ended.code == 2
    assert "output: `ledger` may hold no password" in ended.err
    assert "hush" not in ended.err


def test_a_variable_that_is_not_set_is_named(command, recipe_file, shared, monkeypatch):
    monkeypatch.delenv(DATABASE)
    ended = command("run", recipe_file, *shared)
    assert ended.code == 2
    assert f"output.ledger_password_env: {DATABASE} is not set" in ended.err


def test_a_password_given_as_the_variable_is_not_repeated(command, recipe_file, database):
    ended = command(
        *("run", recipe_file, "--set", f"output.ledger={database.url}"),
        *("--set", "output.ledger_password_env=hush hush"),
    )
    assert ended.code == 2
    assert "hush hush" not in ended.err


@pytest.mark.parametrize("arguments", [("run",), ("doctor",)])
def test_a_database_that_does_not_answer_exits_2_with_its_address(
    command, recipe_file, shared, arguments, postgres
):
    away = f"postgresql://tester@127.0.0.1:{postgres.port}/nowhere"
    ended = command(*arguments, recipe_file, *shared, "--set", f"output.ledger={away}")
    assert ended.code == 2
    assert f"{away}: cannot be used as a ledger: " in ended.err + ended.out
    assert '"nowhere" does not exist' in ended.err + ended.out


@pytest.mark.parametrize("arguments", [("run",), ("doctor",)])
def test_without_the_extra_the_message_says_how_to_install_it(
    command, recipe_file, shared, arguments, monkeypatch
):
    for name in [
        name for name in sys.modules if name.startswith("vision_pipeline.adapters.ledger.postgres")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ended = command(*arguments, recipe_file, *shared)
    assert ended.code == 2
    assert "pip install -c constraints.txt '.[postgres]'" in ended.err + ended.out
