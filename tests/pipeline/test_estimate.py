"""A plan counts what a run would ask, and tells what it would take."""

from collections import Counter
from dataclasses import replace

import orjson
import pytest

from tests.fakes import ListSource
from vision_pipeline.core.errors import BudgetError, ErrorCode, ItemError
from vision_pipeline.core.forecast import exactly, moments
from vision_pipeline.core.models import Price
from vision_pipeline.core.selection import Selection
from vision_pipeline.core.sizing import SizeRule
from vision_pipeline.core.usage import Usage
from vision_pipeline.pipeline.estimate import estimate
from vision_pipeline.pipeline.forecasting import Alternative, Bounds, Calls, forecast

NAMES = [f"{number:02}" for number in range(12)]
PRICE = Price(input=1.0, output=2.0)
BOUNDS = Bounds(max_tokens=100, max_in_flight=4, context_tokens=10_000)


@pytest.fixture
def twelve(bench):
    bench.source = ListSource(NAMES)
    bench.answers_with(lambda _: orjson.dumps({"caption": "seen"}).decode())
    return bench


async def test_without_replies_only_the_most_is_known(twelve):
    found = await estimate(twelve.services())
    assert (found.items, found.to_ask, found.sampled) == (12, 12, 0)
    told = found.forecast
    assert (told.replies, told.seconds, told.binds) == (0, None, "")
    assert told.output_tokens.high == 12 * 1000  # model.max_tokens
    assert told.usd.high == pytest.approx((told.input_tokens.high + 2 * 12_000) / 1e6)


async def test_rows_of_the_same_question_tell_what_replies_take(twelve):
    twelve.source = ListSource(NAMES[:4])
    await twelve.run()
    twelve.source = ListSource(NAMES)
    found = await estimate(twelve.services())
    assert (found.already_answered, found.to_ask) == (4, 8)
    told = found.forecast
    assert (told.replies, told.basis) == (4, "this question")
    replied = twelve.rows().slice(0, 1).to_pylist()[0]
    assert told.output_tokens == exactly(8 * replied["completion_tokens"])
    assert told.input_tokens.likely == 8 * replied["prompt_tokens"]
    assert told.binds == "limits.max_in_flight"


async def test_rows_of_the_prompt_with_other_settings_stand_in(twelve):
    await twelve.run()
    twelve.template = twelve.template.replace("version: 1", "version: 2").replace("this", "it")
    twelve.settings = {"model": {"name": "mistral-small-2603"}}
    told = (await estimate(twelve.services())).forecast
    # The recipe of these runs names the same model, whatever the question's is.
    assert (told.replies, told.basis) == (0, "this prompt with other settings")


async def test_a_sample_is_paid_once_and_tells_what_the_rest_takes(twelve):
    found = await estimate(twelve.services(), sample=5)
    assert (found.sampled, found.to_ask, found.from_ledger) == (5, 7, 5)
    assert len(twelve.model.asked) == 5
    told = found.forecast
    assert (told.replies, told.basis) == (5, "this question")
    assert found.sample_usd == pytest.approx(
        5 * (told.input_tokens.likely / 7 + 2 * told.output_tokens.likely / 7) / 1e6
    )
    assert twelve.run_ids() == []

    again = await estimate(twelve.services())
    assert (again.from_ledger, again.to_ask, again.forecast) == (5, 7, told)
    assert (again.image_tokens, again.text_tokens) == (found.image_tokens, found.text_tokens)
    assert again.sent_bytes == found.sent_bytes
    assert (await twelve.run()).calls == 7


async def test_a_sample_adds_to_what_earlier_rows_tell(twelve):
    twelve.source = ListSource(NAMES[:4])
    await twelve.run()
    twelve.source = ListSource(NAMES)
    found = await estimate(twelve.services(), sample=3)
    assert (found.forecast.replies, found.forecast.basis, found.to_ask) == (7, "this question", 5)


async def test_one_reply_hides_nothing_that_more_of_them_tell(twelve):
    await twelve.run()
    twelve.template = twelve.template.replace("Caption this", "Name this")
    twelve.settings = {"model": {"name": "m"}}
    twelve.source = ListSource(NAMES[:3])
    twelve.selection = Selection(stop=2)
    await twelve.run()
    twelve.template = twelve.template.replace("Name this", "Tell this")
    kin = (await estimate(twelve.services())).forecast
    assert (kin.replies, kin.basis) == (2, "this prompt with other settings")
    one = (await estimate(twelve.services(), sample=1)).forecast
    assert (one.replies, one.basis) == (2, "this prompt with other settings")


async def test_a_sample_is_drawn_from_all_of_the_source(twelve):
    twelve.source = ListSource([f"{number:03}" for number in range(200)])
    await estimate(twelve.services(), sample=40)
    drawn = [int(uri) for uri in twelve.images.read_uris[200:]]
    assert len(set(drawn)) == 40
    quarters = Counter(number // 50 for number in drawn)
    assert all(4 <= quarters[quarter] <= 18 for quarter in range(4))


async def test_a_sample_larger_than_the_rest_asks_about_the_rest(twelve):
    found = await estimate(twelve.services(), sample=100)
    assert (found.sampled, found.to_ask) == (12, 0)
    assert (found.image_tokens, found.text_tokens, found.sent_bytes) == (0, 0, 0)
    assert found.forecast.usd == exactly(0.0)


async def test_what_of_a_sample_brings_no_reply_is_left_to_the_run(twelve):
    twelve.answers_with(lambda _: ItemError(ErrorCode.TIMEOUT, "no reply"))
    found = await estimate(twelve.services(), sample=2)
    assert (found.sampled, found.to_ask, found.sample_usd) == (0, 12, None)


async def test_a_sample_keeps_to_the_budget(twelve):
    twelve.settings = {"budget": {"usd": 1e-9}}
    with pytest.raises(BudgetError):
        await estimate(twelve.services(), sample=2)


async def test_a_stored_reply_that_cannot_be_read_tells_nothing(twelve):
    await estimate(twelve.services(), sample=2)
    twelve.ledger.replies = [
        (key, run_id, replace(stored, received=replace(stored.received, body=b"{}")))
        for key, run_id, stored in twelve.ledger.replies
    ]
    found = await estimate(twelve.services())
    assert (found.from_ledger, found.forecast.replies) == (2, 0)


async def test_a_selection_is_all_that_is_planned(twelve):
    twelve.selection = Selection(start=3, stop=5)
    found = await estimate(twelve.services(), alternatives=[])
    assert (found.items, found.to_ask, found.skipped) == (2, 2, {"not_selected": 3})


async def test_limits_are_those_given_or_those_that_the_latest_run_knew(twelve):
    services = twelve.services()
    twelve.source = ListSource(NAMES[:2])
    summary = await twelve.run()
    document = services.results.read_run(summary.run_id)
    document["summary"]["traffic"] |= {"requests_per_minute": 2, "tokens_per_minute": None}
    services.results.write_run(summary.run_id, document)
    twelve.source = ListSource(NAMES)
    told = (await estimate(twelve.services())).forecast
    assert (told.seconds, told.binds) == (300.0, "the limit of requests")
    twelve.settings = {"limits": {"requests_per_minute": 1000, "tokens_per_minute": 10}}
    told = (await estimate(twelve.services())).forecast
    tokens = told.input_tokens.likely + told.output_tokens.likely
    assert (told.seconds, told.binds) == (tokens / 10 * 60, "the limit of tokens")


# --- what would cost less


def small(setting="image.max_side_px=56", price=PRICE, side_px=56):
    return Alternative(setting, SizeRule(side_px, 28), price)


def calls(count=10, others=None):
    return Calls(count, 5000, 200, Counter(others or {}))


def test_cheaper_settings_are_told_with_what_they_save_the_cheapest_last():
    usage = Usage(moments([50, 50]), moments([0, 0]))
    others = {SizeRule(56, 28): 1000, SizeRule(1540, 28): 5000}
    told = forecast(
        calls(others=others),
        usage,
        price=PRICE,
        bounds=BOUNDS,
        alternatives=[
            small("model.name=x", Price(input=0.1, output=0.1), side_px=1540),
            small("model.name=dear", Price(input=0.9, output=9), side_px=1540),
            small(),
        ],
    )
    assert told.usd == exactly(pytest.approx((5200 + 2 * 500) / 1e6))
    assert [each.setting for each in told.cheaper] == ["image.max_side_px=56", "model.name=x"]
    assert told.cheaper[0].saves_usd == pytest.approx(4000 / 1e6)
    assert told.cheaper[0].input_tokens == exactly(1200)
    assert told.cheaper[1].usd == exactly(pytest.approx((5200 + 500) * 0.1 / 1e6))


def test_without_a_price_or_a_call_nothing_is_cheaper():
    usage = Usage(moments([50, 50]), moments([0, 0]))
    more = {"bounds": BOUNDS, "alternatives": [small()]}
    assert forecast(calls(), usage, price=None, **more).cheaper == []
    assert forecast(calls(0), usage, price=PRICE, **more).cheaper == []


def test_what_estimates_missed_before_is_added_and_may_be_less():
    usage = Usage(moments([50, 50]), moments([-10, -10]))
    told = forecast(calls(), usage, price=PRICE, bounds=BOUNDS)
    assert told.input_tokens == exactly(5100)


async def test_the_tokens_of_alternatives_are_counted_from_the_images(twelve):
    cheap = small(price=Price(input=0.5, output=1.0))
    found = await estimate(twelve.services(), alternatives=[cheap])
    [cheaper] = found.forecast.cheaper
    assert cheaper.input_tokens.likely == found.forecast.input_tokens.likely  # images of 28 px
    assert cheaper.saves_usd == pytest.approx(found.forecast.usd.likely / 2)
