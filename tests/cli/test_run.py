import json
import re
import socket

import pytest

from vision_pipeline.cli.display import count, duration
from vision_pipeline.cli.servers import server_url
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue


def test_a_run_answers_every_image_and_says_where_the_table_is(command, recipe_file, recipe):
    ended = command("run", recipe_file)
    assert ended.code == 0
    assert "4 answered, 0 errors" in ended.out
    assert f"{recipe.output.path}/results" in ended.out
    assert "1 not_image" in ended.out


def test_the_same_command_again_asks_nothing(command, recipe_file):
    command("run", recipe_file)
    ended = command("run", recipe_file, "--json")
    summary = json.loads(ended.out)
    assert (ended.code, summary["calls"], summary["already_answered"]) == (0, 0, 4)


def test_options_outrank_the_recipe(command, recipe_file, pictures, tmp_path):
    other = tmp_path / "elsewhere"
    ended = command(
        "run",
        recipe_file,
        *("--source", pictures / "2.png", "--output", other, "--set", "image.quality=80"),
    )
    assert ended.code == 0
    assert list(load(str(other))["item_id"]) == ["2.png"]


def test_a_manifest_may_be_the_source(command, recipe_file, pictures, tmp_path):
    manifest = pictures / "items.csv"
    manifest.write_text("image,shop\n1.png,Ellery\n3.png,Lowmoor\n")
    ended = command("run", recipe_file, "--source", manifest, "--output", tmp_path / "m")
    frame = load(str(tmp_path / "m"))
    assert ended.code == 0
    assert dict(zip(frame["item_id"], frame["shop"], strict=True)) == {
        "1.png": "Ellery",
        "3.png": "Lowmoor",
    }


def test_a_damaged_image_is_a_row_and_exit_code_1(command, recipe_file, pictures):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    ended = command("run", recipe_file)
    assert ended.code == 1
    assert "unreadable_image" in ended.out


def test_a_limit_takes_the_first_items(command, recipe_file, recipe):
    command("run", recipe_file, "--limit", 2)
    assert len(load(recipe.output.path)) == 2


def test_a_used_up_budget_exits_3_and_names_the_way_on(command, recipe_file):
    ended = command("run", recipe_file, "--max-cost", "0.000001")
    assert ended.code == 3
    assert "budget" in ended.err
    assert "--max-cost" in ended.err


def test_tokens_are_bounded_too_and_the_same_command_with_more_finishes(command, recipe_file):
    ended = command("run", recipe_file, "--max-tokens", 10)
    assert (ended.code, "budget.tokens" in ended.err, "--max-tokens" in ended.err) == (
        3,
        True,
        True,
    )
    assert command("run", recipe_file, "--max-tokens", 10**7).code == 0


def test_the_synthetic_engine_can_be_started_for_a_run(command, recipe_file):
    ended = command(
        "run",
        recipe_file,
        *("--set", "model.base_url=null", "--set", "model.engine=synthetic", "--limit", 1),
    )
    assert ended.code == 0


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("image.qualty=9", ["image.qualty", "quality"]),
        ("image.quality=500", ["image.quality", "500", "95"]),
        ("model.name=codestral-2508", ["codestral-2508", "does not see images"]),
        ("prompt=recept_fields", ["recept_fields", "receipt_fields"]),
        ("output.path=/proc/nothing/here", ["output.path", "cannot be written"]),
        ("source.path=/no/such/folder", ["/no/such/folder"]),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(command, recipe_file, setting, told):
    ended = command("run", recipe_file, "--set", setting)
    assert ended.code == 2
    assert all(part in ended.err for part in told)
    assert "Traceback" not in ended.err


def test_a_retired_model_names_the_living_one(command, recipe_file, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    settings = ("--set", "model.provider=mistral", "--set", "model.name=pixtral-12b-latest")
    ended = command("run", recipe_file, *settings)
    assert ended.code == 2
    assert "was retired on" in ended.err
    assert "use ministral-14b-2512" in ended.err


def test_a_missing_key_names_its_variable(command, recipe_file, monkeypatch):
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    ended = command("run", recipe_file, "--set", "model.provider=mistral")
    assert ended.code == 2
    assert "MISTRAL_API_KEY" in ended.err


def test_a_refused_key_exits_3_without_showing_it(command, recipe_file, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "sk-wrong-and-secret")
    with running(EmulatorSettings(api_key="right"), load_catalogue()) as emulator:
        base_url = f"model.base_url={emulator.base_url}/v1"
        ended = command("run", recipe_file, "--set", "model.provider=mistral", "--set", base_url)
    assert ended.code == 3
    assert "refuses the key" in ended.err
    assert "sk-wrong" not in ended.err + ended.out


def test_an_unreachable_server_exits_3_with_its_address(command, recipe_file):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        ended = command("run", recipe_file, "--set", f"model.base_url=http://127.0.0.1:{port}/v1")
    assert ended.code == 3
    assert f"127.0.0.1:{port}" in ended.err
    assert "Traceback" not in ended.err


def test_an_empty_folder_exits_2(command, recipe_file, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = command("run", recipe_file, "--source", empty)
    assert ended.code == 2
    assert "no images" in ended.err


def test_a_missing_recipe_points_to_init(command):
    ended = command("run", "nowhere.yaml")
    assert ended.code == 2
    assert "nowhere.yaml" in ended.err
    assert "init" in ended.err


def test_a_secret_block_needs_the_prefect_engine(command, recipe_file):
    settings = ("--set", "model.api_key_block=b", "--set", "model.provider=mistral")
    ended = command("run", recipe_file, "--engine", "local", *settings)
    assert ended.code == 2
    assert "--engine prefect" in ended.err


def test_an_unknown_option_exits_2(command):
    assert command("run", "--nonsense").code == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.31, "8.3 s"), (245, "4 min 05 s"), (7805, "2 h 10 min")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (950, "950"), (12_345, "12.3k"), (4_560_000, "4.56M")]
)
def test_counts_read_well(number, text):
    assert count(number) == text


def test_a_server_is_set_by_the_environment():
    assert (
        server_url({"PREFECT_API_URL": "http://127.0.0.1:4200/api"}) == "http://127.0.0.1:4200/api"
    )
    assert not server_url({"PREFECT_API_URL": " "})


def test_a_server_is_set_by_the_active_profile(tmp_path):
    profiles = 'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://prefect:4200/api"\n'
    (tmp_path / "profiles.toml").write_text(profiles)
    assert server_url({"PREFECT_HOME": str(tmp_path)}) == "http://prefect:4200/api"
    assert not server_url({"PREFECT_HOME": str(tmp_path), "PREFECT_PROFILE": "other"})


def test_without_profiles_no_server_is_set(tmp_path):
    assert not server_url({"PREFECT_HOME": str(tmp_path)})


def test_a_server_that_wants_a_key_where_none_is_set_is_told_with_the_variable(
    command, recipe_file, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with running(EmulatorSettings(api_key="right"), load_catalogue()) as emulator:
        base_url = f"model.base_url={emulator.base_url}/v1"
        settings = ("--set", "model.provider=openai", "--set", base_url)
        for arguments in (("run", recipe_file, *settings), ("doctor", recipe_file, *settings)):
            ended = command(*arguments)
            assert "OPENAI_API_KEY is not set: `export OPENAI_API_KEY=…`" in ended.out + ended.err
            assert "model.api_key_env" in ended.out + ended.err


def test_a_run_that_went_on_tells_its_own_part_from_the_whole(command, recipe_file, recipe):
    stopped = command("run", recipe_file, "--set", "output.shard_size=1", "--max-cost", "0.00075")
    assert stopped.code == 3
    ended = command("run", recipe_file, "--set", "output.shard_size=1")
    assert "4 answered, 0 errors, the run that was cut off is finished (" in ended.out
    assert " since it went on)" in ended.out
    [calls] = re.findall(r"^since it went on: (\d+) calls$", ended.out, re.MULTILINE)
    assert 0 < int(calls) < 4
    assert "the whole run: 4 rows, 0 from the ledger, " in ended.out
    assert "the same command again asks about those added or changed after that" in ended.out
