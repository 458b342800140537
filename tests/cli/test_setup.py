import json

from vision_pipeline import __version__
from vision_pipeline.core.image_formats import PLUGIN_PACKAGES
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.wiring.library import load_catalogue


def test_init_writes_a_recipe_that_is_valid(command, tmp_path, monkeypatch):
    ended = command("init", tmp_path / "new")
    assert ended.code == 0
    monkeypatch.chdir(tmp_path / "new")
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    planned = command("plan", "configs/images.yaml")
    assert planned.code == 2
    assert "images: no images" in planned.err


def test_init_overwrites_nothing(command, tmp_path):
    command("init", tmp_path)
    ended = command("init", tmp_path)
    assert ended.code == 2
    assert "is there already" in ended.err


def test_init_into_a_file_is_told(command, tmp_path):
    (tmp_path / "file").write_text("x")
    ended = command("init", tmp_path / "file")
    assert ended.code == 2
    assert "cannot be written" in ended.err


def test_a_template_of_the_project_is_found_by_its_name(command, tmp_path, monkeypatch):
    command("init", tmp_path)
    monkeypatch.chdir(tmp_path)
    listed = json.loads(command("prompts", "--json").out)
    assert "my_describe" in listed


def test_prompts_lists_every_use_case(command):
    listed = json.loads(command("prompts", "--json").out)
    assert set(listed) >= {
        "alt_text",
        "chart",
        "classify",
        "compare",
        "describe",
        "elements",
        "invoice",
        "old_document",
        "receipt_fields",
        "receipt_text",
        "transcribe",
    }


def test_prompts_shows_a_table(command):
    assert "receipt_fields" in command("prompts").out


def test_prompts_prints_one(command):
    out = command("prompts", "describe").out
    assert out.startswith("---\n")


def test_doctor_finds_nothing_wrong(command, recipe_file):
    ended = command("doctor", recipe_file)
    assert ended.code == 0
    assert ended.out.count("ok  ") == 9
    assert "FAIL" not in ended.out


def test_doctor_looks_at_another_source_and_output(command, recipe_file, tmp_path):
    (tmp_path / "blocked").write_text("a file")
    nowhere, blocked = tmp_path / "nowhere", tmp_path / "blocked" / "out"
    ended = command("doctor", recipe_file, "--source", nowhere, "--output", blocked)
    assert ended.code == 2
    assert f"FAIL  source: {nowhere}" in ended.out
    assert "FAIL  output: " in ended.out
    assert str(blocked) in ended.out


def test_doctor_says_which_formats_need_an_extra(command, recipe_file, monkeypatch):
    monkeypatch.setitem(PLUGIN_PACKAGES, "PDF", "a_package_that_is_not_installed")
    ended = command("doctor", recipe_file)
    assert "PDF: pip install -c constraints.txt '.[formats]'" in ended.out


def test_doctor_names_each_fault_on_a_line(command, recipe_file, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = command(
        "doctor",
        recipe_file,
        *("--set", f"source.path={empty}"),
        *("--set", "model.name=codestral-2508"),
        *("--set", "prompt=nothing"),
        *("--set", "output.path=/proc/nothing"),
    )
    assert ended.code == 2
    assert ended.out.count("FAIL") == 5


def test_doctor_asks_a_server_with_the_key(command, recipe_file, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "wrong")
    with running(EmulatorSettings(api_key="right"), load_catalogue()) as emulator:
        settings = (
            *("--set", "model.provider=mistral"),
            *("--set", f"model.base_url={emulator.base_url}/v1"),
        )
        refused = command("doctor", recipe_file, *settings)
        monkeypatch.setenv("MISTRAL_API_KEY", "right")
        accepted = command("doctor", recipe_file, *settings)
    assert "the key is refused" in refused.out
    assert "answers, lists mistral-small-2603, sees images" in accepted.out


def test_doctor_knows_an_engine_without_a_server(command, recipe_file):
    settings = ("--set", "model.base_url=null", "--set", "model.engine=synthetic")
    ended = command("doctor", recipe_file, *settings)
    assert "synthetic is started for the run" in ended.out


def test_doctor_asks_prefect_where_a_server_is_set(command, recipe_file, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ended = command("doctor", recipe_file)
    assert "FAIL  prefect: PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in ended.out


def test_the_emulator_refuses_an_unknown_fault(command):
    ended = command("emulator", "--fault", "nonsense=0.1")
    assert ended.code == 2
    assert "nonsense" in ended.err


def test_the_emulator_refuses_a_fault_without_a_rate(command):
    ended = command("emulator", "--fault", "reset")
    assert ended.code == 2
    assert "KIND=RATE" in ended.err


def test_every_command_has_an_example(command):
    for name in ("run", "plan", "status", "doctor", "init", "prompts", "emulator"):
        assert "Example" in command(name, "--help").out


def test_the_version_is_that_of_the_package(command):
    assert command("--version").out.strip() == __version__
