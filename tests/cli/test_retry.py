import json

import pytest
import yaml

from vision_pipeline.results import load

BROKEN = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def broken(command, recipe_file, pictures):
    """A run of which one image was broken; it is mended since."""
    whole = (pictures / "0.png").read_bytes()
    (pictures / "broken.png").write_bytes(BROKEN)
    command("run", recipe_file, "--limit", 5)
    (pictures / "broken.png").write_bytes(whole + b"\0")
    return pictures / "broken.png"


def test_an_output_folder_is_enough_to_retry(command, recipe, broken):
    ended = command("retry", recipe.output.path)
    assert ended.code == 0
    assert "1 answered, 0 errors" in ended.out
    assert list(load(recipe.output.path)["status"].unique()) == ["ok"]


def test_a_folder_that_was_moved_is_retried_where_it_is(command, recipe, broken, tmp_path):
    (tmp_path / "out").rename(tmp_path / "moved")
    assert command("retry", tmp_path / "moved").code == 0
    assert len(load(str(tmp_path / "moved"), runs="all")) == 6
    assert not (tmp_path / "out").exists()


def test_a_recipe_retries_with_its_own_settings(command, recipe_file, broken):
    ended = command("retry", recipe_file, "--code", "unreadable_image", "--json")
    assert (ended.code, json.loads(ended.out)["items"]) == (0, 1)


def test_another_code_finds_nothing(command, recipe, broken):
    ended = command("retry", recipe.output.path, "--code", "timeout")
    assert "nothing to do" in ended.out


def test_a_code_that_is_none_exits_2(command, recipe):
    ended = command("retry", recipe.output.path, "--code", "nonsense")
    assert ended.code == 2
    assert "unreadable_image" in ended.err


def test_a_folder_without_runs_exits_2(command, tmp_path):
    ended = command("retry", tmp_path)
    assert ended.code == 2
    assert "no runs here" in ended.err


def test_a_setting_may_differ_from_the_latest_run(command, recipe, broken):
    ended = command("retry", recipe.output.path, "--set", "model.max_token=7")
    assert ended.code == 2
    assert "did you mean" in ended.err


def test_a_recipe_that_another_version_wrote_is_named(command, recipe, broken, tmp_path):
    [run_file] = (tmp_path / "out" / "runs").iterdir()
    document = yaml.safe_load(run_file.read_text())
    document["config"]["nonsense"] = 1
    run_file.write_text(json.dumps(document))
    ended = command("retry", recipe.output.path)
    assert ended.code == 2
    assert f"{run_file}: nonsense: unknown key" in ended.err
