"""What a run promises: one row per item, paid once, finished by the same command."""

import asyncio
import base64
from dataclasses import replace

import orjson
import pytest

from tests.fakes import ListSource, MemoryImages, ScriptedModel, completion
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.activity import Stage
from vision_pipeline.core.errors import (
    AccessError,
    BudgetError,
    ConfigError,
    ErrorCode,
    ItemError,
    SourceError,
    StoppedError,
    StorageError,
)
from vision_pipeline.core.models import Price
from vision_pipeline.pipeline.estimate import estimate
from vision_pipeline.pipeline.stop import Stop


def image_of(request):
    """The image's content, out of the data URL of a request."""
    url = request["messages"][-1]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition(",")[2]).decode()


def caption(request):
    return orjson.dumps({"caption": f"seen {image_of(request)}"}).decode()


async def test_every_item_gets_its_own_answer(bench):
    bench.answers_with(caption)
    summary = await bench.run()
    assert bench.column("caption") == {"a": "seen a", "b": "seen b", "c": "seen c"}
    assert (summary.items, summary.ok, summary.failed, summary.calls) == (3, 3, 0, 3)
    assert summary.exit_code == 0


async def test_a_second_run_of_finished_work_asks_nothing_and_writes_nothing(bench):
    bench.answers_with(caption)
    await bench.run()
    bench.model = ScriptedModel()
    bench.images = MemoryImages()
    summary = await bench.run()
    assert summary.run_id is None
    assert (summary.already_answered, summary.calls) == (3, 0)
    assert bench.images.read_uris == []
    assert bench.rows().num_rows == 3


async def test_a_new_image_is_asked_alone(bench):
    bench.answers_with(caption)
    await bench.run()
    bench.source = ListSource(["a", "b", "c", "d"])
    summary = await bench.run()
    assert (summary.items, summary.already_answered, summary.calls) == (1, 3, 1)


async def test_a_changed_file_with_the_same_content_costs_no_call(bench):
    bench.answers_with(caption)
    await bench.run()
    bench.source.versions["a"] = "2"
    bench.model = ScriptedModel()
    summary = await bench.run()
    assert (summary.items, summary.from_ledger, summary.calls) == (1, 1, 0)
    assert summary.cost_usd == 0.0


class StoppedInTheMiddle(ListSource):
    """A source of two batches; somebody presses Ctrl-C while the first one is worked on."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(["a", "b"])
        self.stop = stop

    def batches(self):
        yield from super().batches()
        self.stop.by_user()
        yield from super().batches()


@pytest.mark.parametrize("job", ["run", "estimate"])
async def test_a_stop_while_the_source_is_listed_ends_the_listing_and_leaves_no_trace(bench, job):
    services = bench.services()
    bench.source = StoppedInTheMiddle(services.stop)
    services = replace(services, source=bench.source)
    with pytest.raises(StoppedError):
        await (bench.run(services) if job == "run" else estimate(services))
    assert services.results.run_ids() == []
    bench.answers_with(caption)
    bench.source = ListSource(["a", "b"])
    assert (await bench.run()).ok == 2


async def test_another_question_asks_everything_again(bench):
    bench.answers_with(caption)
    await bench.run()
    bench.template = bench.template.replace("Caption this.", "Name this.")
    summary = await bench.run()
    assert summary.calls == 3


async def test_fresh_asks_everything_again(bench):
    bench.answers_with(caption)
    await bench.run()
    bench.fresh = True
    summary = await bench.run()
    assert (summary.items, summary.calls) == (3, 3)


async def test_one_image_under_many_names_is_asked_once(bench):
    bench.source = ListSource(["a", "copy", "twin"])
    bench.images = MemoryImages(copy=b"a", twin=b"a")
    bench.answers_with(caption)
    summary = await bench.run()
    assert summary.calls == 1
    assert set(bench.column("caption").values()) == {"seen a"}
    assert sorted(bench.column("from_ledger").values()) == [False, True, True]
    assert summary.cost_usd == pytest.approx(120e-6)


async def test_a_bad_image_becomes_a_row_and_the_run_goes_on(bench):
    bench.source = ListSource(["a", "bad", "missing"])
    bench.answers_with(caption)
    summary = await bench.run()
    assert bench.column("error_code") == {
        "a": None,
        "bad": "unreadable_image",
        "missing": "source_missing",
    }
    assert bench.column("status") == {"a": "ok", "bad": "error", "missing": "error"}
    assert summary.exit_code == 1


async def test_permanent_failures_are_left_alone_and_transient_ones_tried_again(bench):
    bench.source = ListSource(["bad", "missing"])
    bench.answers_with(caption)
    await bench.run()
    summary = await bench.run()
    assert (summary.items, summary.already_failed) == (1, 1)
    assert summary.exit_code == 1


async def test_a_refused_request_is_one_row(bench):
    refused = ItemError(ErrorCode.REFUSED_REQUEST, "HTTP 400: no")
    bench.answers_with(lambda request: refused if image_of(request) == "b" else caption(request))
    await bench.run()
    assert bench.column("error_detail") == {"a": None, "b": "HTTP 400: no", "c": None}


async def test_an_unusable_answer_is_repaired_once_and_both_turns_are_paid(bench):
    bench.source = ListSource(["a"])
    bench.answers_with(
        lambda request: '{"caption": "ok"}' if len(request["messages"]) > 1 else "no json"
    )
    summary = await bench.run()
    assert bench.column("repaired") == {"a": True}
    assert bench.column("prompt_tokens") == {"a": 200}
    assert summary.cost_usd == pytest.approx(2 * 120e-6)


async def test_a_copy_of_a_repaired_item_gets_the_repaired_answer(bench):
    bench.source = ListSource(["a"])
    replies = ['{"caption": "x", "mood": "sad"}', '{"caption": "y"}']
    bench.answers_with(lambda _: replies.pop(0))
    await bench.run()
    bench.source, bench.images = ListSource(["copy"]), MemoryImages(copy=b"a")
    bench.model = ScriptedModel()
    summary = await bench.run()
    assert (summary.from_ledger, summary.repaired) == (1, 1)
    assert bench.column("caption")["copy"] == "y"


async def test_a_stored_reply_with_other_keys_is_taken_rather_than_paid_for_again(bench):
    bench.source = ListSource(["a"])
    replies = ['{"caption": "x", "mood": "sad"}', '{"caption": "y"}']
    bench.answers_with(lambda _: replies.pop(0))
    await bench.run()
    del bench.ledger.replies[1]  # the repair
    bench.source, bench.images = ListSource(["copy"]), MemoryImages(copy=b"a")
    bench.model = ScriptedModel()
    summary = await bench.run()
    assert (summary.from_ledger, summary.repaired) == (1, 0)
    assert bench.column("caption")["copy"] == "x"


async def test_an_answer_that_stays_unusable_keeps_its_text(bench):
    bench.source = ListSource(["a"])
    bench.answers_with(lambda _: "no json")
    await bench.run()
    assert bench.column("error_code") == {"a": "invalid_answer"}
    assert bench.column("reply_text") == {"a": "no json"}
    assert bench.column("cost_usd") == {"a": pytest.approx(240e-6)}


async def test_a_refused_key_stops_the_run_and_the_same_command_finishes_it(bench):
    bench.settings = {
        "output": {"path": bench.root, "shard_size": 1},
        "limits": {"max_in_flight": 1},
    }
    refused = AccessError("the provider refuses the key")
    bench.answers_with(lambda request: caption(request) if image_of(request) == "a" else refused)
    with pytest.raises(AccessError):
        await bench.run()
    paid = len(bench.ledger.replies)
    bench.answers_with(caption)
    summary = await bench.run()
    assert summary.resumed
    assert (summary.items, summary.ok) == (3, 3)
    assert summary.calls == 3 - paid
    assert summary.cost_usd == pytest.approx(3 * 120e-6)


async def test_shards_of_one_item_do_not_keep_requests_from_going_side_by_side(bench):
    bench.source = ListSource([f"item {number}" for number in range(40)])
    bench.settings = {"output": {"path": bench.root, "shard_size": 1}}
    bench.slots = 40
    bench.answers_with(caption)
    bench.model.hold = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(bench.run())
        await bench.model.was_asked(40)
        bench.model.hold.set()
    assert running.result().ok == 40


async def test_a_run_that_was_cut_off_keeps_its_manifest(bench):
    bench.answers_with(lambda _: AccessError("no"))
    with pytest.raises(AccessError):
        await bench.run()
    bench.source = ListSource(["a", "b", "c", "later"])
    bench.answers_with(caption)
    first = await bench.run()
    second = await bench.run()
    assert (first.resumed, first.items) == (True, 3)
    assert (second.resumed, second.items) == (False, 1)


async def test_a_deleted_shard_is_worked_again_without_a_call(bench, tmp_path):
    bench.answers_with(caption)
    await bench.run()
    for shard in tmp_path.rglob("shard-*.parquet"):
        shard.unlink()
    bench.model = ScriptedModel()
    summary = await bench.run()
    assert (summary.items, summary.ok, summary.calls) == (3, 3, 0)


class FullDisk(ResultStore):
    """A folder that takes manifests and no shards."""

    def write_shard(self, *_args, **_more):
        raise StorageError("No space left on device")


async def test_a_shard_that_cannot_be_written_keeps_its_replies(bench):
    bench.answers_with(caption)
    full = FullDisk(OutputFolder(bench.root))
    with pytest.raises(StorageError):
        await bench.run(replace(bench.services(), results=full))
    bench.model = ScriptedModel()
    summary = await bench.run()
    assert (summary.resumed, summary.ok, summary.calls) == (True, 3, 0)


async def test_a_stop_lets_requests_finish_and_keeps_their_replies(bench):
    bench.answers_with(caption)
    bench.model.hold = asyncio.Event()
    services = bench.services()
    running = asyncio.create_task(bench.run(services))
    await bench.model.was_asked(3)
    services.stop.by_user()
    with pytest.raises(StoppedError):
        await running
    assert services.stop.requested.is_set()


async def test_a_cancelled_run_is_finished_by_the_next_one(bench):
    bench.answers_with(caption)
    bench.model.hold = asyncio.Event()
    bench.grace_s = 0.01
    running = asyncio.create_task(bench.run())
    await bench.model.was_asked(3)
    running.cancel()
    with pytest.raises((asyncio.CancelledError, StoppedError)):
        await running
    bench.answers_with(caption)
    summary = await bench.run()
    assert (summary.resumed, summary.ok) == (True, 3)


async def test_a_bug_stops_the_run_instead_of_blanking_rows(bench):
    bench.answers_with(lambda _: ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await bench.run()


async def test_the_budget_is_never_exceeded_and_the_rest_finishes_later(bench):
    bench.source = ListSource([f"i{n}" for n in range(20)])
    bench.settings = {"budget": {"usd": 0.001}, "model": {"max_tokens": 60}}
    bench.answers_with(caption)
    with pytest.raises(BudgetError):
        await bench.run()
    spent = (await bench.ledger.spent(bench.ledger.replies[0][1])).usd
    assert 0 < spent <= 0.001
    bench.settings = {"budget": {"usd": 1.0}, "model": {"max_tokens": 60}}
    summary = await bench.run()
    assert (summary.resumed, summary.ok) == (True, 20)


async def test_without_a_price_the_cost_is_unknown_rather_than_zero(bench):
    bench.price = None
    bench.answers_with(caption)
    summary = await bench.run()
    assert summary.cost_usd is None
    assert set(bench.column("cost_usd").values()) == {None}


async def test_free_text_fills_the_column_answer(bench):
    bench.template = "---\nversion: 1\ndescription: d\nschema: null\n---\nRead."
    bench.answers_with(image_of)
    await bench.run()
    assert bench.column("answer") == {"a": "a", "b": "b", "c": "c"}


async def test_manifest_columns_are_template_variables_and_pass_through(bench):
    bench.source = ListSource(["a"], shop=["Ellery"])
    bench.template = bench.template.replace("Caption this.", "Caption for {{ shop }}.")
    bench.answers_with(caption)
    await bench.run()
    assert bench.model.asked[0]["messages"][0]["content"][0]["text"] == "Caption for Ellery."
    assert bench.column("shop") == {"a": "Ellery"}


async def test_a_missing_template_variable_is_refused_before_the_first_call(bench):
    bench.template = bench.template.replace("Caption this.", "Caption for {{ shop }}.")
    with pytest.raises(ConfigError, match="shop"):
        await bench.run()


@pytest.mark.parametrize("column", ["caption"])
async def test_an_answer_column_that_is_also_a_manifest_column_is_refused(bench, column):
    bench.source = ListSource(["a"], **{column: ["x"]})
    with pytest.raises(ConfigError, match=column):
        await bench.run()


async def test_an_answer_column_with_a_reserved_name_is_refused(bench):
    bench.template = bench.template.replace("caption", "status")
    with pytest.raises(ConfigError, match="status"):
        await bench.run()


async def test_an_empty_source_is_refused_with_what_was_passed_over(bench):
    bench.source = ListSource([])
    bench.source.counts["not_image"] = 2
    with pytest.raises(SourceError, match=r"no images.*2 not_image"):
        await bench.run()


async def test_the_limit_takes_the_first_items(bench):
    bench.settings = {"source": {"path": "x", "limit": 2}}
    bench.answers_with(caption)
    await bench.run()
    assert set(bench.column("caption")) == {"a", "b"}


async def test_a_reply_without_choices_from_an_older_ledger_is_an_error_row(bench):
    bench.source = ListSource(["a"])
    bench.answers_with(lambda _: b'{"choices": []}')
    await bench.run()
    assert bench.column("error_code") == {"a": "invalid_answer"}


async def test_the_row_names_the_model_that_answered(bench):
    bench.source = ListSource(["a", "bad"])
    bench.answers_with(lambda request: completion(caption(request), model="m-2603"))
    summary = await bench.run()
    assert bench.column("model")["a"] == "m-2603"
    assert summary.models == {"m-2603": 1}


async def test_runs_within_one_second_keep_their_order(bench):
    bench.answers_with(caption)
    first = await bench.run()
    bench.fresh = True
    second = await bench.run()
    assert first.run_id < second.run_id


async def test_prices_below_zero_are_no_prices():
    with pytest.raises(ValueError, match="input"):
        Price(input=-1, output=0)


def test_the_first_cause_of_a_stop_is_kept():
    stop = Stop()
    stop.request(AccessError("first"))
    stop.by_user()
    assert isinstance(stop.cause, AccessError)


async def test_a_permanent_failure_is_tried_again_under_other_limits(bench):
    bench.source = ListSource(["bad"])
    bench.answers_with(caption)
    await bench.run()
    services = replace(bench.services(), abilities="a larger limit")
    summary = await bench.run(services)
    assert (summary.items, summary.already_failed) == (1, 0)


async def test_a_summary_names_the_first_item_of_each_error(bench):
    bench.source = ListSource(["bad", "worse"])
    bench.images = MemoryImages(worse=b"bad too")
    summary = await bench.run()
    assert summary.examples == {"unreadable_image": "bad: not an image"}


async def test_a_fresh_run_that_was_cut_off_does_not_pay_again_for_what_it_has(bench):
    bench.source = ListSource([f"i{n}" for n in range(20)])
    bench.answers_with(caption)
    await bench.run()
    bench.fresh = True
    bench.settings = {"budget": {"usd": 0.001}, "model": {"max_tokens": 60}}
    with pytest.raises(BudgetError):
        await bench.run()
    paid = len(bench.ledger.replies) - 20
    bench.settings = {}
    summary = await bench.run()
    assert 0 < paid < 20
    assert (summary.resumed, summary.calls) == (True, 20 - paid)


async def test_a_fresh_run_asks_one_image_under_many_names_once(bench):
    bench.source = ListSource(["a", "copy"])
    bench.images = MemoryImages(copy=b"a")
    bench.fresh = True
    bench.answers_with(caption)
    assert (await bench.run()).calls == 1


class SlowForOne(ScriptedModel):
    """Answers about one image only once all others were asked about."""

    def __init__(self, slow, others):
        super().__init__(caption)
        self._slow, self._others = slow, others

    async def ask(self, body, *, estimated_tokens):
        if image_of(orjson.loads(body)) == self._slow:
            await self.was_asked(self._others)
        return await super().ask(body, estimated_tokens=estimated_tokens)


async def test_a_slow_item_holds_up_no_later_shard(bench):
    names = [f"{number:02}" for number in range(30)]
    bench.source = ListSource(names)
    bench.settings = {"output": {"path": bench.root, "shard_size": 3}}
    bench.model = SlowForOne("00", others=29)
    summary = await asyncio.wait_for(bench.run(), 60)
    assert (summary.ok, summary.items) == (30, 30)


async def test_a_summary_tells_where_the_time_went(bench):
    bench.answers_with(caption)
    services = bench.services()
    summary = await bench.run(services)
    document = services.results.read_run(summary.run_id)["summary"]
    assert document["seconds_by_stage"] == summary.seconds_by_stage
    assert set(summary.seconds_by_stage) <= set(Stage)
    assert summary.traffic["refused"] == 0
    assert summary.advice == ""  # too short a run to tell
