"""Deployments, and what a server is asked about them, on a temporary Prefect server."""

import re
import signal
from pathlib import Path

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Cron, Interval
from prefect.settings import PREFECT_API_URL

from flows.analyze_images import analyze_images
from flows.deployments import (
    AUTOMATION,
    FLOWS,
    ONE_AT_A_TIME,
    ServingRunner,
    end_killed_runs,
    parameter,
    tags,
)
from flows.deployments import recipe as read_recipe
from flows.inspection import look_at_server
from vision_pipeline.cli.checks import run_checks
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def client():
    with get_client(sync_client=True) as client:
        yield client


def deploy(config: RunConfig, name: str, **more: object) -> RunnerDeployment:
    deployment = analyze_images.to_deployment(
        name=name,
        parameters={"config": parameter(config), "wait": True},
        concurrency_limit=ONE_AT_A_TIME,
        tags=tags(config),
        **{"schedule": Cron("0 3 * * *", timezone="Europe/Paris")} | more,
    )
    deployment.apply()
    return deployment


def named(recipe: RunConfig, name: str) -> RunConfig:
    return RunConfig.model_validate(parameter(recipe) | {"name": name})


def found(config: RunConfig) -> dict[str, tuple[bool, str]]:
    return {each.name: (each.ok, each.detail) for each in look_at_server(config)}


def test_each_deployment_of_the_project_has_a_flow_a_recipe_and_one_run_at_a_time(monkeypatch):
    monkeypatch.chdir(ROOT)
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    for deployment in project["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"]).name
        assert flow in FLOWS
        assert bool(deployment["schedules"]) is (flow != "backfill")
        [step] = deployment["build"]
        read = read_recipe(step["flows.deployments.recipe"]["file"])
        assert read["config"]["name"] == deployment["name"]
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_a_deployed_recipe_says_what_its_file_says_and_no_more(tmp_path, monkeypatch):
    text = "name: a\nsource: {path: x}\nprompt: describe\noutput: {path: out}\n"
    (tmp_path / "a.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    read = read_recipe("a.yaml")
    assert read["folder"] == str(tmp_path)
    assert read["config"] == yaml.safe_load(text)
    assert read["tags"] == ["vision-pipeline", "mistral", "mistral-small-2603"]


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        read_recipe("nothing.yaml")


def test_the_automation_for_killed_runs_is_made_once_and_left_alone(client):
    end_killed_runs()
    [first] = client.read_automations_by_name(AUTOMATION)
    end_killed_runs()
    assert client.read_automations_by_name(AUTOMATION) == [first]


def test_an_automation_of_an_older_version_is_brought_up_to_date(client):
    end_killed_runs()
    [current] = client.read_automations_by_name(AUTOMATION)
    old = current.trigger.model_copy(update={"threshold": 2})
    older = current.model_copy(update={"trigger": old}).model_dump(
        include={"name", "trigger", "actions"}
    )
    client.update_automation(current.id, AutomationCore.model_validate(older))
    end_killed_runs()
    [mended] = client.read_automations_by_name(AUTOMATION)
    assert (mended.id, mended.trigger) == (current.id, current.trigger)


def test_a_recipe_on_no_schedule_is_no_fault(recipe):
    assert found(named(recipe, "never")) == {
        "schedule": (True, "none for this recipe (`serve`, or prefect.yaml)")
    }


def test_a_schedule_is_told_with_who_would_run_it(recipe, client):
    config = named(recipe, "nightly")
    client.create_work_pool(WorkPoolCreate(name="night", type="process"))
    end_killed_runs()
    deploy(config, "nightly", work_pool_name="night")
    assert found(config) == {
        "schedule": (True, "analyze_images/nightly: cron '0 3 * * *' Europe/Paris"),
        "workers": (
            False,
            "0 online in the work pool night; `prefect worker start --pool night` starts one",
        ),
        "killed runs": (True, "end as crashed after 300 s of silence"),
    }
    client.send_worker_heartbeat("night", "a worker")
    assert found(config)["workers"] == (True, "1 online in the work pool night")


def test_a_changed_recipe_is_to_be_deployed_again(recipe):
    config = named(recipe, "changed")
    deploy(config, "changed")
    changed = config.model_copy(update={"prompt": "classify"})
    assert found(changed)["schedule"] == (
        False,
        "analyze_images/changed: of another recipe; deploy it again",
    )


def test_a_paused_deployment_and_one_that_nobody_serves_are_faults(recipe):
    config = named(recipe, "paused")
    deploy(config, "paused", paused=True, schedule=Interval(90))
    told = found(config)
    assert told["schedule"] == (False, "analyze_images/paused: paused, or without a schedule")
    assert told["workers"] == (False, "no process serves it: start `serve` again")


def test_sigterm_ends_a_process_that_serves_as_ctrl_c_does():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ServingRunner(name="any").handle_sigterm()
    finally:
        signal.signal(signal.SIGINT, before)


def test_doctor_asks_the_server_where_one_is_set(recipe, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    names = [check.name for check in run_checks(named(recipe, "unknown")) if check.ok]
    assert names[-3:] == ["ledger", "prefect", "schedule"]


def test_a_server_that_refuses_to_tell_is_a_finding(recipe, monkeypatch):
    def refused(*_client, **_filters):
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(
        "prefect.client.orchestration.SyncPrefectClient.read_deployments",
        lambda *_, **__: refused(),
    )
    assert found(recipe)["schedule"] == (False, "the server refuses to tell: refused")


def test_a_secret_block_that_is_missing_is_named(recipe):
    model = recipe.model.model_copy(update={"api_key_block": "no-such-block"})
    told = found(named(recipe, "secretive").model_copy(update={"model": model}))
    assert told["secret"] == (False, "no Secret block no-such-block on the server")


async def test_the_readmes_hooks_are_called(recipe, capsys):
    readme = (ROOT / "README.md").read_text("utf-8")
    [example] = re.findall(r"```python\n(from flows\.[^`]*on_failure[^`]*)```", readme)
    module: dict[str, object] = {}
    exec(example, module)  # noqa: S102
    await module["analyze"](recipe.model_copy(update={"prompt": "nothing"}), return_state=True)
    assert " Failed prompt: no template 'nothing'; " in capsys.readouterr().out
