"""Stored replies are read under another schema: no call, and no answer that nobody gave."""

import base64
import json
from dataclasses import replace

import orjson
import pyarrow as pa
import pytest

from tests.fakes import IMAGES, ListSource, MemoryImages, MemoryLedger, ScriptedModel
from tests.results.runs import as_before
from vision_pipeline.core.errors import (
    ConfigError,
    ErrorCode,
    ItemError,
    OutputError,
    StoppedError,
    StorageError,
)
from vision_pipeline.core.records import Amount
from vision_pipeline.pipeline import plan
from vision_pipeline.pipeline import stored as rereading
from vision_pipeline.pipeline.reparse import reparse_shard

SHAPES = {
    "integer": {"count": {"type": "integer"}},
    "number": {"count": {"type": "number"}},
    "few": {"count": {"type": "integer", "maximum": 2}},
    "more keys": {"count": {"type": "integer"}, "colour": {"type": "string"}},
    "other key": {"amount": {"type": "integer"}},
    "text": None,
}


def template(shape, text="Count.", head=""):
    properties = SHAPES[shape]
    schema = properties and {"type": "object", "properties": properties}
    if schema:
        schema["required"] = list(properties)
    return (
        f"---\nversion: {shape}\ndescription: d\nschema: {json.dumps(schema)}\n"
        f"max_images: 2\n{head}---\n{text}"
    )


def image_of(request):
    url = request["messages"][-1]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition(",")[2]).decode()


COUNTS = {"a": 1, "b": 2, "c": 3}


def counted(request):
    return orjson.dumps({"count": COUNTS[image_of(request)]}).decode()


class AnyNumber:
    """A script that gives its replies one after the other."""

    def __init__(self, *replies):
        self.replies = list(replies)

    def __call__(self, request):
        return self.replies.pop(0)


@pytest.fixture
async def stored(bench):
    """A run that counted 1, 2 and 3 of a, b and c; whatever is asked from now on is a fault."""
    bench.template = template("integer")
    bench.answers_with(counted)
    await bench.run()
    bench.model = ScriptedModel()
    return bench


def latest(bench, name):
    return bench.column(name)  # of several rows of an item the last one stays in the dictionary


# --- what fits


async def test_rows_of_before_there_was_a_mode_are_loaded_settled_and_read_again(stored):
    as_before(stored.root, "mode", [0])
    assert set(latest(stored, "mode").values()) == {None}
    assert (await stored.run()).already_answered == 3
    stored.template = template("number")
    assert (await stored.reparse()).ok == 3
    assert set(latest(stored, "mode").values()) == {"realtime"}


async def test_a_reply_that_fits_is_an_answer_of_the_new_type_without_a_call(stored):
    stored.template = template("number")
    summary = await stored.reparse()
    assert (summary.items, summary.ok, summary.calls, summary.exit_code) == (3, 3, 0, 0)
    assert latest(stored, "count") == {"a": 1.0, "b": 2.0, "c": 3.0}
    rows = stored.rows()
    assert rows.num_rows == 6
    assert rows.schema.field("count").type == pa.float64()
    assert set(latest(stored, "prompt_version").values()) == {"number"}


async def test_a_row_stays_as_it_was_but_for_its_answer_and_costs_nothing(stored):
    before = stored.rows().to_pylist()
    stored.template = template("number")
    await stored.reparse()
    changed = {"count", "prompt_version", "question_sha256", "idempotency_key", "run_id"}
    for old, new in zip(before, stored.rows().to_pylist()[3:], strict=True):
        kept = {name: value for name, value in old.items() if name not in changed}
        assert kept | {"cost_usd": 0.0, "from_ledger": True} == {name: new[name] for name in kept}


async def test_the_next_run_leaves_alone_what_fits(stored):
    stored.template = template("number")
    await stored.reparse()
    stored.images = MemoryImages()
    summary = await stored.run()
    assert (summary.run_id, summary.already_answered) == (None, 3)
    assert stored.images.read_uris == []


async def test_a_renamed_image_costs_no_call_afterwards_either(stored):
    stored.template = template("number")
    await stored.reparse()
    stored.source, stored.images = ListSource(["renamed"]), MemoryImages(renamed=b"a")
    summary = await stored.run()
    assert (summary.ok, summary.from_ledger, summary.calls) == (1, 1, 0)


async def test_what_the_ledger_keeps_for_that_has_cost_nothing(stored):
    stored.template = template("number")
    summary = await stored.reparse()
    assert len(stored.ledger.replies) == 6
    assert await stored.ledger.spent(summary.run_id) == Amount()


async def test_copies_of_an_image_share_a_reply(bench):
    bench.source, bench.images = ListSource(["a", "copy"]), MemoryImages(copy=b"a")
    bench.template = template("integer")
    bench.answers_with(counted)
    await bench.run()
    bench.template = template("number")
    assert (await bench.reparse()).ok == 2
    assert len(bench.ledger.replies) == 2


async def test_without_a_price_the_cost_stays_unknown(bench):
    bench.template, bench.price = template("integer"), None
    bench.answers_with(counted)
    await bench.run()
    bench.template = template("number")
    assert (await bench.reparse()).cost_usd is None
    assert set(latest(bench, "cost_usd").values()) == {None}


async def test_keys_that_the_schema_has_no_more_are_dropped(bench):
    bench.source, bench.template = ListSource(["a"]), template("more keys")
    bench.answers_with(lambda _: '{"count": 1, "colour": "red"}')
    await bench.run()
    bench.template = template("integer")
    assert (await bench.reparse()).ok == 1
    assert latest(bench, "count") == {"a": 1}
    assert latest(bench, "colour") == {"a": None}
    bench.source, bench.images = ListSource(["renamed"]), MemoryImages(renamed=b"a")
    bench.model = ScriptedModel()
    assert (await bench.run()).from_ledger == 1


async def test_a_text_may_get_a_schema_and_an_answer_may_become_a_text(bench):
    bench.source, bench.template = ListSource(["a"]), template("text")
    bench.answers_with(lambda _: '{"count": 1}')
    await bench.run()
    bench.template = template("integer")
    await bench.reparse()
    assert latest(bench, "count") == {"a": 1}
    bench.template = template("text")
    await bench.reparse()
    assert latest(bench, "answer") == {"a": '{"count": 1}'}


# --- what does not


async def test_a_reply_that_does_not_fit_is_an_error_that_keeps_question_and_reply(stored):
    [before] = [row for row in stored.rows().to_pylist() if row["item_id"] == "c"]
    stored.template = template("few")
    summary = await stored.reparse()
    assert (summary.ok, summary.errors, summary.exit_code) == (2, {"invalid_answer": 1}, 1)
    row = stored.rows().to_pylist()[-1]
    kept = ("question_sha256", "idempotency_key", "prompt_version", "reply_text")
    assert {name: row[name] for name in kept} == {name: before[name] for name in kept}
    assert row["error_detail"].startswith("the stored reply does not fit: /count: 3 is greater")
    assert (row["count"], row["cost_usd"], row["from_ledger"]) == (None, 0.0, True)


async def test_the_next_run_asks_exactly_what_did_not_fit(stored):
    stored.template = template("few")
    await stored.reparse()
    stored.answers_with(lambda _: '{"count": 0}')
    stored.images = MemoryImages()
    summary = await stored.run()
    assert (summary.items, summary.calls, summary.already_answered) == (1, 1, 2)
    assert stored.images.read_uris == ["c"]
    assert latest(stored, "count") == {"a": 1, "b": 2, "c": 0}


@pytest.mark.parametrize("shape", ["more keys", "other key"])
async def test_a_key_that_was_never_asked_for_is_no_answer(stored, shape):
    stored.template = template(shape)
    summary = await stored.reparse()
    assert summary.errors == {"invalid_answer": 3}
    assert "required property" in summary.examples["invalid_answer"]


async def test_going_back_costs_no_call_not_even_for_what_did_not_fit(stored):
    stored.template = template("few")
    await stored.reparse()
    stored.template = template("integer")
    summary = await stored.run()
    assert (summary.ok, summary.calls, summary.already_failed) == (3, 0, 0)
    assert latest(stored, "count") == COUNTS


async def test_a_reply_that_did_not_fit_may_fit_the_next_schema(stored):
    stored.template = template("few")
    await stored.reparse()
    stored.template = template("number")
    summary = await stored.reparse()
    assert (summary.items, summary.ok) == (3, 3)


async def test_an_invalid_answer_of_a_run_may_fit_now(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(lambda _: '{"count": 1.5}')
    assert (await bench.run()).errors == {"invalid_answer": 1}
    bench.template, bench.model = template("number"), ScriptedModel()
    assert (await bench.reparse()).ok == 1
    assert latest(bench, "count") == {"a": 1.5}


async def test_a_cut_answer_stays_one(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    body = orjson.dumps(
        {"choices": [{"message": {"content": '{"cou'}, "finish_reason": "length"}], "usage": {}}
    )
    bench.answers_with(lambda _: body)
    await bench.run()
    bench.template = template("number")
    assert (await bench.reparse()).errors == {"truncated_answer": 1}


async def test_errors_without_a_reply_go_along_and_are_tried_again_by_the_next_run(bench):
    bench.source, bench.template = ListSource(["a", "bad", "missing"]), template("integer")
    bench.answers_with(counted)
    await bench.run()
    bench.template, bench.model = template("number"), ScriptedModel()
    summary = await bench.reparse()
    assert (summary.items, summary.ok) == (3, 1)
    assert summary.errors == {"unreadable_image": 1, "source_missing": 1}
    assert latest(bench, "from_ledger") == {"a": True, "bad": False, "missing": False}
    bench.images = MemoryImages()
    await bench.run()
    assert sorted(bench.images.read_uris) == ["bad", "missing"]


# --- which reply


async def test_a_repaired_answer_is_read_from_its_row(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(AnyNumber("no json", '{"count": 7}'))
    await bench.run()
    bench.template, bench.model = template("number"), ScriptedModel()
    assert (await bench.reparse()).repaired == 1
    assert latest(bench, "count") == {"a": 7.0}
    assert latest(bench, "prompt_tokens") == {"a": 200}
    assert latest(bench, "attempts") == {"a": 2}


async def test_an_answer_that_would_have_needed_no_repair_is_taken_unrepaired(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(AnyNumber('{"count": 6.5}', '{"count": 7}'))
    await bench.run()
    bench.template, bench.model = template("number"), ScriptedModel()
    assert (await bench.reparse()).repaired == 0
    assert latest(bench, "count") == {"a": 6.5}
    assert latest(bench, "prompt_tokens") == {"a": 100}


async def test_a_repaired_answer_that_does_not_fit_either_is_not_repaired_again(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(AnyNumber("no json", '{"count": 7}'))
    await bench.run()
    bench.template, bench.model = template("few"), ScriptedModel()
    assert (await bench.reparse()).errors == {"invalid_answer": 1}
    assert latest(bench, "reply_text") == {"a": '{"count": 7}'}


async def test_a_reply_that_the_ledger_has_lost_is_read_from_its_row(stored):
    stored.ledger = MemoryLedger()
    stored.template = template("few")
    summary = await stored.reparse()
    assert (summary.ok, summary.errors) == (2, {"invalid_answer": 1})
    assert stored.ledger.replies == []
    assert latest(stored, "reply_text")["a"] == '{"count":1}'


async def test_a_body_that_could_not_be_read_goes_along_until_it_can(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(lambda _: b"{}")
    assert (await bench.run()).errors == {"invalid_answer": 1}
    bench.template = template("number")
    assert (await bench.reparse()).errors == {"invalid_answer": 1}
    key, run_id, reply = bench.ledger.replies[0]
    body = orjson.dumps({"choices": [{"message": {"content": '{"count": 1}'}}]})
    reply = replace(reply, received=replace(reply.received, body=body))
    bench.ledger.replies[0] = (key, run_id, reply)
    bench.template = template("few")
    assert (await bench.reparse()).ok == 1


async def test_a_reply_that_came_for_a_copy_since_answers_an_item_that_failed(bench):
    bench.source, bench.template = ListSource(["a"]), template("integer")
    bench.answers_with(lambda _: ItemError(ErrorCode.TIMEOUT, "no reply"))
    await bench.run()
    bench.source, bench.images = ListSource(["copy"]), MemoryImages(copy=b"a")
    bench.answers_with(counted)
    await bench.run()
    bench.template, bench.model = template("number"), ScriptedModel()
    summary = await bench.reparse()
    assert (summary.items, summary.ok) == (2, 2)
    assert latest(bench, "count") == {"a": 1.0, "copy": 1.0}


async def test_an_own_reply_to_the_very_question_comes_before_one_to_its_kin(stored):
    stored.source, stored.template = ListSource(["a"]), template("number")
    stored.answers_with(lambda _: '{"count": 1.5}')
    await stored.run()
    stored.template = template("few")
    stored.answers_with(lambda _: '{"count": 2}')
    await stored.run()
    stored.template, stored.model = template("number"), ScriptedModel()
    await stored.reparse()
    assert latest(stored, "count") == {"a": 1.5, "b": 2.0, "c": 3.0}


async def test_the_latest_row_of_an_item_counts(stored):
    stored.source.versions["a"] = "2"
    stored.images = MemoryImages(a=b"c")  # another image under the same name
    await stored.run()
    stored.template = template("number")
    await stored.reparse()
    assert latest(stored, "count") == {"a": 3.0, "b": 2.0, "c": 3.0}


# --- which rows


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"template": template("number", text="Count all.")}, "the text or the system message"),
        ({"template": template("number", head="system: Be brief.\n")}, "the system message"),
    ],
)
async def test_a_reply_to_another_question_is_no_answer_to_this_one(stored, changed, told):
    vars(stored).update(changed)
    with pytest.raises(ConfigError, match="none of 3 items was asked this question") as caught:
        await stored.reparse()
    assert told in str(caught.value)
    assert stored.rows().num_rows == 3


async def test_a_setting_that_differs_is_named(stored):
    services = stored.reparse_services()
    model = services.config.model.model_copy(update={"max_tokens": 9, "name": "other"})
    other = replace(services.question, model="other", decoding={"max_tokens": 9})
    services = replace(
        services, question=other, config=services.config.model_copy(update={"model": model})
    )
    with pytest.raises(ConfigError) as caught:
        await stored.reparse(services)
    assert "model.name was 'mistral-small-2603', and is 'other'" in str(caught.value)
    assert "model.max_tokens was 1000, and is 9" in str(caught.value)


async def test_what_was_only_asked_something_else_is_left_alone(stored):
    stored.source, stored.template = ListSource(["d"]), template("integer", text="Else?")
    stored.answers_with(lambda _: '{"count": 4}')
    await stored.run()
    stored.template = template("number")
    summary = await stored.reparse()
    assert (summary.items, summary.skipped) == (3, {"of_another_question": 1})
    assert stored.found == [rereading.Found(replied=3, unreplied=0, settled=0, others=1)]
    assert "3 stored replies to read" in stored.found[0].told()
    assert "1 asked another question" in stored.found[0].told()


async def test_an_answer_to_another_question_in_between_hides_no_reply(stored):
    stored.template = template("integer", text="Else?")
    stored.answers_with(lambda _: '{"count": 4}')
    await stored.run()
    stored.template = template("number")
    assert (await stored.reparse()).ok == 3
    assert latest(stored, "count") == {"a": 1.0, "b": 2.0, "c": 3.0}


async def test_a_second_reparse_finds_nothing_to_do(stored):
    stored.template = template("few")
    await stored.reparse()
    summary = await stored.reparse()
    assert (summary.run_id, summary.items) == (None, 0)
    assert (summary.already_answered, summary.already_failed, summary.exit_code) == (2, 1, 1)
    assert stored.rows().num_rows == 6


async def test_what_this_question_has_answered_by_itself_is_left_alone(stored):
    stored.source, stored.template = ListSource(["a"]), template("number")
    stored.answers_with(lambda _: '{"count": 1.5}')
    await stored.run()
    summary = await stored.reparse()
    assert (summary.items, summary.already_answered) == (2, 1)
    assert latest(stored, "count") == {"a": 1.5, "b": 2.0, "c": 3.0}


async def test_replies_that_are_read_otherwise_by_now_are_read_again(stored, monkeypatch):
    for module in (plan, rereading):
        monkeypatch.setattr(module, "READING_VERSION", 99)
    summary = await stored.reparse()
    assert (summary.items, summary.ok) == (3, 3)
    assert len(stored.ledger.replies) == 3
    assert (await stored.reparse()).run_id is None


async def test_columns_of_a_manifest_go_along(bench):
    bench.source = ListSource(["a"], shop=["Ellery"])
    bench.template = template("integer", text="Count in {{ shop }}.")
    bench.answers_with(counted)
    await bench.run()
    bench.template = template("number", text="Count in {{ shop }}.")
    await bench.reparse()
    assert latest(bench, "shop") == {"a": "Ellery"}
    assert latest(bench, "count") == {"a": 1.0}
    assert not [name for name in bench.rows().column_names if name.startswith("_")]


async def test_runs_with_other_columns_fit_together(bench):
    text = "Count{% if shop is defined %} in {{ shop }}{% endif %}."
    bench.template = template("integer", text=text)
    bench.answers_with(counted)
    await bench.run()
    bench.source = ListSource(["c"], shop=["Ellery"])
    await bench.run()
    bench.template = template("number", text=text)
    summary = await bench.reparse()
    assert latest(bench, "shop") == {"a": None, "b": None, "c": "Ellery"}
    # Of a and b the prompt would make another text by now: that they have a shop, and no name.
    assert (summary.ok, summary.errors) == (1, {"invalid_answer": 2})
    assert "given to another text" in summary.examples["invalid_answer"]


async def test_a_text_that_fails_on_an_item_by_now_is_another_text(bench):
    text = "Count {% if n is defined %}{{ n + 1 }}{% endif %}."
    bench.template = template("integer", text=text)
    bench.answers_with(counted)
    await bench.run()
    bench.source = ListSource(["c", "missing"], n=[1, 2])
    await bench.run()
    bench.template = template("number", text=text)
    summary = await bench.reparse()
    assert (summary.ok, summary.errors) == (1, {"invalid_answer": 2, "source_missing": 1})


async def test_columns_that_changed_their_type_are_refused(bench):
    bench.template = template("integer")
    bench.answers_with(counted)
    for name, value in (("a", 1), ("b", "one")):
        bench.source = ListSource([name], n=[value])
        await bench.run()
    bench.template = template("number")
    with pytest.raises(OutputError, match="do not fit together"):
        await bench.reparse()


async def test_a_new_key_that_is_a_manifest_column_is_refused_before_anything_is_written(bench):
    bench.source, bench.template = ListSource(["a"], amount=[5]), template("integer")
    bench.answers_with(counted)
    await bench.run()
    bench.template = template("other key")
    with pytest.raises(ConfigError, match=r"schema\.properties\.amount: is also a manifest column"):
        await bench.reparse()
    assert len(bench.services().results.run_ids()) == 1


class Refs:
    """A source of one item with these images."""

    def __init__(self, *refs):
        self.refs, self.counts = refs, {}

    def batches(self):
        images = pa.array([list(self.refs)], IMAGES)
        yield pa.RecordBatch.from_pydict({"item_id": ["a"], "images": images})


@pytest.mark.parametrize(
    "refs",
    [
        [{"uri": "a", "size_bytes": 1, "version": "1", "page": 2}],
        [{"uri": name, "size_bytes": 1, "version": "1"} for name in "ab"],
        [{"uri": "https://h/a", "version": ""}, {"uri": "b", "size_bytes": 1, "version": "1"}],
    ],
    ids=["a page", "a group", "a link in a group"],
)
async def test_pages_groups_and_links_are_known_by_what_was_asked(bench, refs, tmp_path):
    bench.source, bench.template = Refs(*refs), template("integer")
    source = {"path": None, "manifest": "m.csv"}
    bench.settings = {"image": {"send": "url"}, "source": source}
    bench.answers_with(lambda _: '{"count": 1}')
    await bench.run()
    before = latest(bench, "images")
    bench.template, bench.model = template("number"), ScriptedModel()
    assert (await bench.reparse()).ok == 1
    assert latest(bench, "images") == before
    assert (await bench.run()).already_answered == 1
    bench.source.refs = [ref | {"version": "2"} for ref in refs]
    assert (await bench.run()).from_ledger == 1


# --- cut off


@pytest.fixture
async def in_shards(stored):
    stored.settings = {"output": {"path": stored.root, "shard_size": 1}}
    stored.template = template("few")
    return stored


async def stopped_after_one_shard(bench):
    services = bench.reparse_services()

    async def once(reparser, shard):
        rows = await reparse_shard(reparser, shard)
        services.stop.by_user()
        return rows

    with pytest.raises(StoppedError):
        await rereading.reparse(services, once)


async def test_a_reparse_that_was_cut_off_is_finished_by_the_same_command(in_shards):
    await stopped_after_one_shard(in_shards)
    assert in_shards.rows().num_rows == 4
    summary = await in_shards.reparse()
    assert (summary.resumed, summary.items, summary.ok) == (True, 3, 2)
    assert in_shards.rows().num_rows == 6
    assert len(in_shards.services().results.run_ids()) == 2


async def test_nothing_is_kept_twice_in_the_ledger_after_a_kill(in_shards, tmp_path):
    await in_shards.reparse()
    [reparse] = (tmp_path / "out" / "results").glob(f"run_id={in_shards.run_ids()[-1]}")
    for path in reparse.iterdir():
        path.unlink()
    in_shards.unfinish()
    replies = list(in_shards.ledger.replies)
    summary = await in_shards.reparse()
    assert (summary.resumed, summary.ok) == (True, 2)
    assert in_shards.ledger.replies == replies


async def test_a_reparse_that_a_run_has_overtaken_is_planned_anew(in_shards):
    await stopped_after_one_shard(in_shards)
    in_shards.source = ListSource(["b"])
    in_shards.answers_with(lambda _: '{"count": 0}')
    await in_shards.run()
    summary = await in_shards.reparse()
    assert (summary.resumed, summary.items, summary.already_answered) == (False, 1, 2)
    assert latest(in_shards, "count") == {"a": 1, "b": 0, "c": None}


async def test_a_stop_within_a_shard_writes_nothing_of_it(stored):
    stored.template = template("number")
    services = stored.reparse_services()

    async def late(reparser, shard):
        services.stop.by_user()
        return await reparse_shard(reparser, shard)

    with pytest.raises(StoppedError):
        await rereading.reparse(services, late)
    assert stored.rows().num_rows == 3


async def test_rows_that_are_gone_since_are_named(in_shards, tmp_path):
    await stopped_after_one_shard(in_shards)
    first = in_shards.run_ids()[0]
    next((tmp_path / "out" / "results" / f"run_id={first}").iterdir()).unlink()
    with pytest.raises(OutputError, match=f"{first}: shard 0 is gone"):
        await in_shards.reparse()


async def test_what_one_shard_cannot_be_written_for_stops_them_all(in_shards):
    services = in_shards.reparse_services()
    tried = []

    def full(run_id, shard, *_, **__):
        tried.append(shard)
        raise StorageError("the disk is full")

    services.results.write_shard = full
    with pytest.raises(StorageError, match="the disk is full"):
        await in_shards.reparse(services)
    assert tried == [0]
    assert (await in_shards.reparse()).resumed


async def test_a_reparse_says_in_its_file_that_it_is_one(stored):
    stored.template = template("number")
    summary = await stored.reparse()
    document = stored.services().results.read_run(summary.run_id)
    assert document["reparse"] is True
    assert document["items"] == 3
    assert document["finished_at"]
