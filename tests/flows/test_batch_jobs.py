"""The flow `batch_jobs`: a run that one flow run submits and a later one collects."""

from collections.abc import Iterator

import pytest

from flows.batch_jobs import batch_jobs
from vision_pipeline.cli.engines import run_prefect
from vision_pipeline.core.errors import WaitingError
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue
from vision_pipeline.wiring.services import Wish


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    with running(EmulatorSettings(batch_queue_s=0.2, batch_run_s=0.2), load_catalogue()) as started:
        yield started


@pytest.fixture
def there(recipe, emulator):
    """The recipe, against an emulator that outlives a flow run."""
    model = recipe.model.model_copy(update={"base_url": f"{emulator.base_url}/v1"})
    batch = recipe.batch.model_copy(update={"poll_s": 0.1})
    return recipe.model_copy(update={"model": model, "batch": batch})


async def test_a_flow_run_that_waits_no_longer_is_completed_as_waiting(there):
    state = await batch_jobs(there, wait_s=0, return_state=True)
    assert (state.name, state.is_completed()) == ("Waiting", True)
    assert "1 batch job is under way, 0 of 4 requests done" in state.message
    summary = await batch_jobs(there)
    assert (summary.ok, summary.resumed) == (4, True)
    assert set(load(there.output.path)["mode"]) == {"batch"}


async def test_a_flow_run_that_collects_only_begins_nothing(there):
    summary = await batch_jobs(there, collect_only=True)
    assert summary.run_id is None


def test_the_command_line_hears_that_jobs_are_under_way(there):
    execution = there.execution.model_copy(update={"mode": "batch"})
    config = there.model_copy(update={"execution": execution})
    with pytest.raises(WaitingError):
        run_prefect(config, Wish(patience_s=0), progress=Progress(), stop=Stop())
    summary = run_prefect(config, progress=Progress(), stop=Stop())
    assert summary.ok == 4
