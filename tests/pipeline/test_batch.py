"""A run by batches: over a provider in memory, and processes that end at any step."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fake_batches import BatchProvider, Killed, MemoryJournal
from tests.pipeline.conftest import Bench
from vision_pipeline.adapters.batch_input import InputFile
from vision_pipeline.core.batch import JobState
from vision_pipeline.core.config_batch import BatchConfig
from vision_pipeline.core.errors import (
    BudgetError,
    BusyError,
    ConfigError,
    EndpointError,
    GoneError,
    NoBatchApiError,
    QueueError,
    StoppedError,
    WaitingError,
)
from vision_pipeline.pipeline.batch.jobs import LISTED_AFTER_S
from vision_pipeline.pipeline.batch.run import cancel_jobs
from vision_pipeline.pipeline.batch_services import BatchServices
from vision_pipeline.pipeline.estimate import estimate
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.summary import Summary

CAPTION = '{"caption": "a cat"}'


class BatchBench:
    """A run by batches over fakes; each call of `run` is a process of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.provider = BatchProvider(answer=lambda _: CAPTION)
        self.journal = MemoryJournal()
        self.settings: dict[str, object] = {"max_requests": 2, "max_inline_requests": 0}
        self.patience_s = 1000.0
        self.begins = True
        self.now_s = 0.0
        self.paused: list[float] = []
        bench.source.names = ["a", "b", "c", "d", "e"]

    def services(self) -> Services:
        usual = self.bench.services()
        batch = BatchServices(
            api=self.provider,
            journal=self.journal,
            settings=BatchConfig.model_validate(self.settings),
            new_file=InputFile,
            patience_s=self.patience_s,
            pause=self._pause,
            now_s=lambda: self.now_s,
        )
        return replace(
            usual,
            batch=batch,
            begins=self.begins,
            journal=self.journal,
        )

    async def run(self, services: Services | None = None) -> Summary:
        return await carry_out(services or self.services(), analyze_shard)

    async def _pause(self, stopped: asyncio.Event, seconds: float) -> None:
        self.paused.append(seconds)
        self.now_s += seconds


@pytest.fixture
def batch(bench: Bench) -> BatchBench:
    return BatchBench(bench)


async def test_every_item_is_answered_by_a_job_and_paid_for_at_the_price_of_a_batch(batch):
    summary = await batch.run()
    assert (summary.ok, summary.failed, summary.calls) == (5, 0, 5)
    assert len(batch.provider.jobs) == 3  # of two requests at most
    assert set(batch.provider.handed_over().values()) == {1}
    # 100 and 10 tokens at 1 and 2 USD a million, halved.
    assert summary.cost_usd == pytest.approx(5 * 60e-6)
    assert set(batch.bench.column("mode").values()) == {"batch"}
    assert batch.bench.model.asked == []


async def test_a_finished_run_leaves_no_note_and_no_file_at_the_provider(batch):
    await batch.run()
    assert batch.journal.run_ids() == []
    made = {"job-1-answers", "job-2-answers", "job-3-answers"}
    assert set(batch.provider.deleted) == set(batch.provider.files) | made


async def test_a_run_that_was_killed_just_after_its_end_is_forgotten_by_the_next_one(batch):
    forget, batch.journal.forget = batch.journal.forget, lambda _: None
    await batch.run()
    assert len(batch.journal.run_ids()) == 1
    batch.journal.forget = forget
    await batch.run()
    assert batch.journal.run_ids() == []


async def test_files_stay_at_the_provider_where_that_is_wanted(batch):
    batch.settings["keep_files"] = True
    await batch.run()
    assert batch.provider.deleted == []


async def test_the_run_file_names_the_jobs(batch):
    await batch.run()
    results = batch.bench.services().results
    jobs = results.read_run(results.run_ids()[-1])["batch_jobs"]
    assert [job["job_id"] for job in jobs] == ["job-1", "job-2", "job-3"]
    assert [job["answered"] for job in jobs] == [2, 2, 1]


async def test_the_table_is_that_of_a_run_in_real_time_but_for_cost_time_and_mode(batch, tmp_path):
    await batch.run()
    by_batch = batch.bench.rows()
    other = Bench(str(tmp_path / "other"))
    other.source.names = batch.bench.source.names
    other.answers_with(lambda _: CAPTION)
    await other.run()
    differ = ("run_id", "cost_usd", "queued_s", "latency_s", "answered_at", "mode")
    at_once = other.rows()
    assert set(by_batch.column_names) == set(at_once.column_names)
    kept = [name for name in by_batch.column_names if name not in differ]
    assert by_batch.select(kept).sort_by("item_id") == at_once.select(kept).sort_by("item_id")


async def test_few_requests_go_without_a_file_where_the_provider_takes_that(batch):
    batch.settings |= {"max_requests": 10, "max_inline_requests": 5}
    batch.provider.inline = True
    assert (await batch.run()).ok == 5
    assert batch.provider.uploads == 0
    assert len(batch.provider.jobs) == 1


async def test_an_item_that_cannot_be_sent_has_its_row_and_is_in_no_job(batch):
    batch.bench.source.names = ["a", "bad", "missing"]
    summary = await batch.run()
    assert summary.errors == {"unreadable_image": 1, "source_missing": 1}
    assert batch.provider.handed_over().total() == 1


async def test_copies_of_an_image_are_asked_about_once(batch):
    batch.bench.images.contents = {"b": b"a", "c": b"a"}
    summary = await batch.run()
    assert summary.ok == 5
    assert batch.provider.handed_over().total() == 3


async def test_what_is_in_the_ledger_goes_into_no_job(batch):
    batch.bench.source.names = ["a", "b"]
    batch.bench.answers_with(lambda _: CAPTION)
    await batch.bench.run()
    batch.bench.source.names = ["copy-of-a", "c"]
    batch.bench.images.contents = {"copy-of-a": b"a"}
    assert (await batch.run()).ok == 2
    assert batch.provider.handed_over().total() == 1


async def test_a_process_that_waits_no_longer_says_so_and_the_next_one_collects(batch):
    batch.patience_s = 0
    batch.provider.looks = 2
    with pytest.raises(WaitingError, match="3 batch jobs are under way, 0 of 5 requests done"):
        await batch.run()
    read = len(batch.bench.images.read_uris)
    with pytest.raises(WaitingError):
        await batch.run()
    assert len(batch.bench.images.read_uris) == read  # what is handed over is not prepared again
    summary = await batch.run()
    assert (summary.ok, summary.resumed) == (5, True)
    assert set(batch.provider.handed_over().values()) == {1}


async def test_what_was_submitted_is_collected_although_the_source_is_empty_by_then(batch):
    batch.patience_s = 0
    with pytest.raises(WaitingError):
        await batch.run()
    batch.bench.source.names = []
    assert (await batch.run()).ok == 5


async def test_a_run_in_real_time_does_not_ask_what_jobs_may_bring(batch):
    batch.patience_s = 0
    with pytest.raises(WaitingError):
        await batch.run()
    services = replace(batch.services(), batch=None)
    with pytest.raises(BusyError, match=r"3 batch jobs of run .* may bring answers"):
        await batch.run(services)


async def test_a_collector_begins_nothing(batch):
    batch.begins = False
    assert (await batch.run()).run_id is None
    assert batch.provider.jobs == {}
    assert batch.bench.run_ids() == []


async def test_a_collector_of_another_run_says_which_options_it_takes(batch):
    batch.patience_s, batch.provider.looks = 0, 100
    with pytest.raises(WaitingError):
        await batch.run()
    batch.begins = False
    batch.bench.settings = {"source": {"path": "y"}}
    with pytest.raises(ConfigError, match="was cut off"):
        await batch.run()


async def test_a_collector_does_not_hand_over_what_a_budget_held_back(batch):
    batch.patience_s = 0
    batch.bench.settings = {"budget": {"usd": 0.0025}}
    with pytest.raises(BudgetError):
        await batch.run()
    handed_over = batch.provider.handed_over().total()
    batch.patience_s, batch.begins = 1000, False
    batch.bench.settings = {}
    with pytest.raises(StoppedError, match=r"not all of run .* was submitted"):
        await batch.run()
    assert batch.provider.handed_over().total() == handed_over
    assert len(batch.bench.ledger.replies) == handed_over
    batch.begins = True
    assert (await batch.run()).ok == 5


STEPS = [
    "before upload",
    "after upload",
    "before create",
    "after create",
    "look",
    "during results",
    "between results",
    "delete",
]


@pytest.mark.parametrize("goes_well", [0, 1, 2])
@pytest.mark.parametrize("step", STEPS)
async def test_a_process_may_end_at_any_step_and_nothing_is_handed_over_twice(
    batch, step, goes_well
):
    batch.provider.kill_at = (step, goes_well)
    with pytest.raises(Killed):
        await batch.run()
    summary = await batch.run()
    assert (summary.items, summary.ok) == (5, 5)
    assert set(batch.provider.handed_over().values()) == {1}
    paid = [(key, reply.paid_by) for key, _, reply in batch.bench.ledger.replies]
    assert len(paid) == len(set(paid)) == 5
    assert summary.cost_usd == pytest.approx(5 * 60e-6)


@pytest.mark.parametrize("step", ["before create", "after create"])
async def test_jobs_without_a_file_survive_the_same(batch, step):
    batch.settings |= {"max_inline_requests": 5}
    batch.provider.inline = True
    batch.provider.kill_at = (step, 1)
    with pytest.raises(Killed):
        await batch.run()
    assert (await batch.run()).ok == 5
    assert set(batch.provider.handed_over().values()) == {1}


async def test_a_job_that_was_just_made_is_looked_for_until_it_must_be_listed(batch):
    batch.provider.kill_at = ("after create", 0)
    with pytest.raises(Killed):
        await batch.run()
    batch.provider.hidden = 3
    assert (await batch.run()).ok == 5
    assert set(batch.provider.handed_over().values()) == {1}


async def test_a_job_that_was_never_made_is_made_once_it_must_have_been_listed(batch):
    batch.provider.kill_at = ("before create", 0)
    with pytest.raises(Killed):
        await batch.run()
    before = len(batch.paused)
    assert (await batch.run()).ok == 5
    waited = batch.paused[before:]
    assert sum(waited[: int(LISTED_AFTER_S // 5)]) == pytest.approx(LISTED_AFTER_S)


def failing(*codes: int) -> Callable[[dict[str, Any]], object]:
    """Answers that fail for the first requests, with these statuses, and then do not."""
    left = list(codes)

    def answer(_request: dict[str, Any]) -> object:
        if left:
            return left.pop(0), '{"message": "it failed"}'
        return CAPTION

    return answer


async def test_what_fails_for_good_makes_an_error_row_and_is_not_asked_again(batch):
    batch.provider.answer = failing(400)
    summary = await batch.run()
    assert summary.errors == {"refused_request": 1}
    assert set(batch.provider.handed_over().values()) == {1}


async def test_what_may_pass_goes_into_a_further_job(batch):
    batch.provider.answer = failing(500, 503)
    summary = await batch.run()
    assert summary.ok == 5
    assert sorted(batch.provider.handed_over().values()) == [1, 1, 1, 2, 2]


async def test_what_may_pass_is_given_up_after_three_jobs(batch):
    batch.bench.source.names = ["a"]
    batch.provider.answer = failing(*[500] * 10)
    summary = await batch.run()
    assert summary.errors == {"model_unavailable": 1}
    assert batch.provider.handed_over().total() == 3


async def test_what_may_pass_is_asked_in_real_time_where_that_is_wanted(batch):
    batch.settings["stragglers"] = "realtime"
    batch.provider.answer = failing(500)
    batch.bench.answers_with(lambda _: CAPTION)
    summary = await batch.run()
    assert summary.ok == 5
    assert len(batch.bench.model.asked) == 1
    assert sorted(batch.bench.column("mode").values()) == ["batch"] * 4 + ["realtime"]
    assert summary.cost_usd == pytest.approx(4 * 60e-6 + 120e-6)


async def test_what_may_pass_is_an_error_row_where_nothing_more_is_wanted(batch):
    batch.settings["stragglers"] = "error"
    batch.provider.answer = failing(500)
    summary = await batch.run()
    assert summary.errors == {"model_unavailable": 1}
    assert set(batch.provider.handed_over().values()) == {1}


async def test_a_request_that_a_job_forgot_goes_into_a_further_job(batch):
    forgotten = ["once"]
    batch.provider.answer = lambda _: forgotten.pop() and None if forgotten else CAPTION
    assert (await batch.run()).ok == 5
    assert batch.provider.handed_over().total() == 6


async def test_an_answer_that_does_not_fit_has_its_second_turn_in_a_further_job(batch):
    batch.provider.answer = lambda request: (
        CAPTION if len(request["messages"]) > 1 else '{"other": 1}'
    )
    batch.bench.source.names = ["a"]
    summary = await batch.run()
    assert (summary.ok, summary.repaired) == (1, 1)
    assert batch.provider.handed_over().total() == 2
    assert summary.cost_usd == pytest.approx(2 * 60e-6)


async def test_an_answer_that_does_not_fit_stays_in_its_row_where_nothing_more_is_wanted(batch):
    batch.settings["stragglers"] = "error"
    batch.provider.answer = lambda _: '{"other": 1}'
    batch.bench.source.names = ["a"]
    summary = await batch.run()
    assert summary.errors == {"invalid_answer": 1}
    assert batch.bench.column("reply_text") == {"a": '{"other": 1}'}


async def test_a_body_that_is_no_reply_counts_as_a_failure_that_may_pass(batch):
    batch.settings["stragglers"] = "error"
    batch.bench.source.names = ["a"]
    batch.provider.answer = lambda _: b'{"odd": true}'
    assert (await batch.run()).errors == {"model_unavailable": 1}


async def test_a_job_that_fails_as_a_whole_stops_the_run_and_is_submitted_again(batch):
    batch.provider.ends = JobState.FAILED
    batch.provider.answer = lambda _: None
    with pytest.raises(EndpointError, match="failed as a whole: it was refused"):
        await batch.run()
    batch.provider.ends = JobState.SUCCESS
    batch.provider.answer = lambda _: CAPTION
    assert (await batch.run()).ok == 5


async def test_a_full_queue_is_waited_out_by_jobs_of_the_run(batch):
    batch.provider.most_open = 1
    assert (await batch.run()).ok == 5
    assert set(batch.provider.handed_over().values()) == {1}
    assert len(batch.provider.jobs) == 3


async def test_a_full_queue_of_others_stops_the_run_and_the_same_command_goes_on(batch):
    batch.provider.most_open = 0
    with pytest.raises(QueueError):
        await batch.run()
    batch.provider.most_open = 10
    assert (await batch.run()).ok == 5
    assert set(batch.provider.handed_over().values()) == {1}


async def test_a_job_that_fails_for_a_full_queue_is_made_anew_once_others_have_ended(batch):
    batch.provider.full_for = {"job-2"}
    assert (await batch.run()).ok == 5
    answered = batch.provider.handed_over()
    assert sorted(answered.values()) == [1, 1, 1, 2, 2]  # the second job did no work


async def test_a_cancelled_job_leaves_its_answers_and_the_rest_is_asked_by_the_next_run(batch):
    batch.patience_s = 0
    batch.provider.looks = 100
    with pytest.raises(WaitingError):
        await batch.run()
    assert await cancel_jobs(batch.services()) == 3
    answered = len(batch.bench.ledger.replies)
    assert 0 < answered < 5
    batch.bench.answers_with(lambda _: CAPTION)
    summary = await batch.run(replace(batch.services(), batch=None))
    assert summary.ok == 5
    assert len(batch.bench.model.asked) == 5 - answered


async def test_a_budget_is_kept_and_the_rest_follows_once_it_is_raised(batch):
    batch.bench.settings = {"budget": {"usd": 0.00115}}
    with pytest.raises(BudgetError):
        await batch.run()
    spent = sum(reply.cost_usd or 0.0 for _, _, reply in batch.bench.ledger.replies)
    assert 0 < spent <= 0.00115
    batch.bench.settings = {"budget": {"usd": 1.0}}
    summary = await batch.run()
    assert (summary.items, summary.ok) == (5, 5)
    assert set(batch.provider.handed_over().values()) == {1}


async def test_what_is_with_the_provider_counts_in_the_budget_of_the_next_process(batch):
    batch.bench.settings = {"budget": {"usd": 0.0025}}
    batch.patience_s, batch.provider.looks = 0, 100
    with pytest.raises(BudgetError, match="1 batch job is under way, 0 of 2 requests done"):
        await batch.run()
    handed_over = batch.provider.handed_over().total()
    with pytest.raises(BudgetError, match="under way"):
        await batch.run()
    assert batch.provider.handed_over().total() == handed_over


async def test_copies_in_several_jobs_are_asked_about_once(batch):
    batch.bench.source.names = [f"{number}" for number in range(9)]
    batch.bench.images.contents = {f"{number}": b"a" for number in range(0, 9, 2)}
    summary = await batch.run()
    assert summary.ok == 9
    assert batch.provider.handed_over().total() == 5
    assert summary.cost_usd == pytest.approx(5 * 60e-6)


async def test_another_run_of_the_same_question_is_refused_while_jobs_are_under_way(batch):
    batch.patience_s, batch.provider.looks = 0, 100
    with pytest.raises(WaitingError):
        await batch.run()
    batch.bench.settings = {"source": {"path": "y"}}
    with pytest.raises(BusyError, match="may bring answers to this"):
        await batch.run()
    with pytest.raises(BusyError, match="may bring answers to this"):
        await batch.run(replace(batch.services(), batch=None))
    with pytest.raises(BusyError, match="may bring answers to this"):
        await estimate(batch.services(), sample=2)


async def test_another_question_may_be_asked_meanwhile(batch):
    batch.patience_s, batch.provider.looks = 0, 100
    with pytest.raises(WaitingError):
        await batch.run()
    batch.bench.template = batch.bench.template.replace("Caption this.", "Describe this.")
    batch.bench.answers_with(lambda _: CAPTION)
    assert (await batch.run(replace(batch.services(), batch=None))).ok == 5


async def test_a_job_that_the_provider_does_not_know_is_given_up_by_cancelling(batch):
    batch.patience_s = 0
    with pytest.raises(WaitingError):
        await batch.run()
    batch.provider.jobs.clear()
    batch.patience_s = 1000
    with pytest.raises(GoneError, match="batch cancel CONFIG` gives up what it was asked"):
        await batch.run()
    assert await cancel_jobs(batch.services()) == 0
    assert (await batch.run()).ok == 5


async def test_jobs_of_a_provider_that_ends_with_the_process_are_submitted_anew(batch):
    batch.patience_s = 0
    with pytest.raises(WaitingError):
        await batch.run()
    batch.provider.jobs.clear()
    batch.patience_s = 1000
    services = batch.services()
    assert services.batch is not None
    mortal = replace(services, batch=replace(services.batch, is_mortal=True))
    assert (await batch.run(mortal)).ok == 5


@pytest.mark.parametrize("step", ["before upload", "before create"])
async def test_what_was_never_made_keeps_nobody_from_asking_in_real_time(batch, step):
    batch.provider.refuses_at = step
    with pytest.raises(NoBatchApiError):
        await batch.run()
    batch.bench.answers_with(lambda _: CAPTION)
    assert (await batch.run(replace(batch.services(), batch=None))).ok == 5


async def test_a_stop_cuts_a_call_short_that_bears_an_outage(batch):
    services = batch.services()
    assert services.batch is not None

    async def endless(_file: object, _name: str) -> str:
        services.stop.by_user()
        await asyncio.Event().wait()
        raise AssertionError

    batch.provider.upload = endless
    with pytest.raises(StoppedError):
        await batch.run(services)


async def test_refusals_by_a_rate_limit_use_up_no_try(batch):
    batch.bench.source.names = ["a"]
    batch.provider.answer = failing(429, 429, 429, 429)
    assert (await batch.run()).ok == 1
    assert batch.provider.handed_over().total() == 5


async def test_a_budget_that_is_nearly_used_up_is_not_spent_in_ever_smaller_jobs(batch):
    batch.bench.source.names = [f"{number}" for number in range(30)]
    batch.settings["max_requests"] = 50
    batch.bench.settings = {"budget": {"usd": 0.0035}}
    with pytest.raises(BudgetError):
        await batch.run()
    sizes = [len(job.lines) for job in batch.provider.jobs.values()]
    assert min(sizes[:-1]) >= sizes[0] / 2


async def test_a_stop_ends_the_wait_and_nothing_is_lost(batch):
    services = batch.services()
    assert services.batch is not None

    async def stopped(_event: asyncio.Event, _seconds: float) -> None:
        services.stop.by_user()

    with pytest.raises(StoppedError):
        await batch.run(replace(services, batch=replace(services.batch, pause=stopped)))
    assert (await batch.run()).ok == 5
    assert set(batch.provider.handed_over().values()) == {1}


async def test_jobs_are_looked_at_less_and_less_often(batch):
    batch.provider.looks = 8
    batch.settings["poll_s"] = 10
    await batch.run()
    assert batch.paused[:6] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


async def test_a_fresh_run_asks_again_by_batch_and_its_replies_count(batch):
    await batch.run()
    batch.bench.fresh = True
    batch.provider.answer = lambda _: '{"caption": "a dog"}'
    summary = await batch.run()
    assert (summary.ok, summary.from_ledger) == (5, 0)
    assert set(batch.provider.handed_over().values()) == {2}
