"""Budgets: whatever replies take, nothing is spent beyond them, and the rest is done later."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tests.fakes import ListSource, MemoryLedger
from tests.pipeline.conftest import Bench
from vision_pipeline.core.errors import BudgetError
from vision_pipeline.core.records import Amount, ReceivedReply, StoredReply, VisionRequest
from vision_pipeline.pipeline import budget as budgets
from vision_pipeline.pipeline.budget import Account, Budget, Limit, budget_of
from vision_pipeline.pipeline.estimate import estimate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
MAX_TOKENS = 60
REQUEST = VisionRequest("00", None, "", (), 10)


@pytest.fixture(autouse=True)
def november(monkeypatch):
    monkeypatch.setattr(budgets, "utc_now", lambda: NOW)


def body(prompt_tokens, completion_tokens):
    message = {"role": "assistant", "content": '{"caption": "a cat"}'}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return orjson.dumps({"model": "m", "choices": [choice], "usage": usage})


class AnyLength:
    """A model whose input is twice what was estimated at most, and whose answers end anywhere."""

    def __init__(self, dice):
        self.calls, self._dice = 0, dice

    async def ask(self, _body, *, estimated_tokens):
        self.calls += 1
        for _ in range(self._dice.randrange(4)):  # others go first
            await asyncio.sleep(0)
        prompt_tokens = self._dice.randint(1, 2 * estimated_tokens)
        reply = body(prompt_tokens, self._dice.randint(1, MAX_TOKENS))
        return ReceivedReply(reply, 1, 0.0, 0.1, NOW)


def one_of(dice):
    """A budget that ends somewhere within ten replies or so."""
    usd, tokens = dice.uniform(0.0001, 0.0012), dice.randint(100, 900)
    return dice.choice(
        [
            {"usd": usd},
            {"tokens": tokens},
            {"usd": usd, "tokens": tokens},
            {"usd_per_month": usd},
            {"tokens_per_month": tokens, "usd": usd},
        ]
    )


@pytest.mark.parametrize("seed", range(200))
async def test_no_budget_is_ever_exceeded_and_the_same_command_with_more_does_the_rest(
    tmp_path, seed
):
    dice = random.Random(seed)
    bench = Bench(str(tmp_path))
    bench.slots = dice.choice([1, 2, 8, 32])
    bench.source = ListSource([f"i{number}" for number in range(12)])
    bench.model = AnyLength(dice)
    limits = one_of(dice)
    bench.settings = {"budget": limits, "model": {"max_tokens": MAX_TOKENS}}
    with suppress(BudgetError):
        await bench.run()
    spent = await bench.ledger.spent_since(NOW - timedelta(days=1))
    for name, most in limits.items():
        assert (spent.usd if name.startswith("usd") else spent.tokens) <= most + 1e-12
    bench.settings["budget"] = dict.fromkeys(limits, 10**6)
    await bench.run()
    assert set(bench.column("status").values()) == {"ok"}
    assert (len(bench.ledger.replies), bench.rows().num_rows) == (12, 12)
    assert bench.model.calls == 12


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        ({"usd": 0.0002}, ["budget.usd:", "0.0002 USD is used up: 0.00012", "or --max-cost"]),
        ({"tokens": 150}, ["budget.tokens:", "150 tokens is used up: 110", "or --max-tokens"]),
        ({"usd_per_month": 0.0002}, ["budget.usd_per_month:", "or wait for the next month"]),
        ({"tokens_per_month": 150}, ["budget.tokens_per_month:", "or wait for the next month"]),
    ],
)
async def test_a_used_up_budget_names_its_key_what_was_spent_and_what_to_raise(
    bench, limits, parts
):
    bench.settings = {"budget": limits, "model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    with pytest.raises(BudgetError) as used_up:
        await bench.run()
    assert [part for part in parts if part not in str(used_up.value)] == []
    assert used_up.value.exit_code == 3


async def test_tokens_are_bounded_without_a_price(bench):
    bench.price = None
    bench.settings = {"budget": {"tokens": 150}, "model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    with pytest.raises(BudgetError):
        await bench.run()
    assert len(bench.ledger.replies) == 1


async def test_a_month_counts_what_other_runs_and_samples_took(bench):
    bench.settings = {"model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    await estimate(bench.services(), sample=2)
    bench.settings["budget"] = {"tokens_per_month": 250}
    with pytest.raises(BudgetError, match="220 tokens spent"):
        await bench.run()
    assert len(bench.ledger.replies) == 2


async def test_a_sample_has_a_budget_of_its_own_whatever_earlier_ones_took(bench):
    bench.settings = {"budget": {"tokens": 300}, "model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    for _ in range(3):
        assert (await estimate(bench.services(), sample=1)).sampled == 1


async def test_a_reply_without_usage_counts_as_all_that_it_may_have_taken(bench):
    bench.settings = {"budget": {"tokens": 150}, "model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: body(0, 0))
    with pytest.raises(BudgetError):
        await bench.run()
    assert len(bench.ledger.replies) == 1


async def test_progress_tells_what_is_left_of_the_limit_that_ends_first(bench):
    bench.settings = {"budget": {"usd": 5, "tokens_per_month": 1000}}
    bench.settings["model"] = {"max_tokens": MAX_TOKENS}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    services = bench.services()
    await bench.run(services)
    assert services.progress.budget_left == "670 of 1,000 tokens left this month"
    bench.settings["budget"] = {"usd": 5}
    services = bench.services()
    await bench.run(services)
    assert services.progress.budget_left == ""


async def test_a_budget_goes_by_the_clock_of_this_machine(bench, monkeypatch):
    monkeypatch.undo()
    bench.settings = {"budget": {"usd_per_month": 5}}
    assert (await budget_of(bench.services(), None)).now().tzinfo is UTC


# --- without a run


def monthly(ledger, most=100, now=lambda: NOW):
    month = Account()
    limit = Limit("tokens_per_month", most, month)
    worst = Amount(0.0, 40)
    return Budget((limit,), lambda _: worst, month=month, ledger=ledger, now=now)


async def keep(ledger, tokens, moment, run_id="other"):
    received = ReceivedReply(b"", 1, 0.0, 0.1, moment)
    await ledger.remember("00", StoredReply(received, f"{run_id}/x", None, tokens), run_id=run_id)


async def test_taking_does_not_wait_for_what_is_set_aside_for_others():
    budget = monthly(MemoryLedger())
    first = await budget.take(REQUEST)
    await budget.take(REQUEST)
    with pytest.raises(BudgetError, match="0 tokens spent, 80 tokens set aside for others"):
        await budget.take(REQUEST)
    budget.settle(first, Amount())
    assert (await budget.take(REQUEST)).amount == Amount(0.0, 40)


async def test_whoever_reserves_waits_for_requests_that_may_take_less():
    budget = monthly(MemoryLedger())
    first, _ = await budget.reserve(REQUEST), await budget.reserve(REQUEST)
    waiting = asyncio.ensure_future(budget.reserve(REQUEST))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.settle(first, Amount(0.0, 10))
    assert (await waiting).amount == Amount(0.0, 40)


async def test_a_model_that_counts_otherwise_than_is_known_teaches_to_set_more_aside():
    budget = monthly(MemoryLedger(), most=1000)
    at_once = [await budget.take(REQUEST) for _ in range(2)]
    for reserved in at_once:
        budget.settle(reserved, Amount(0.0, 120))
    third = await budget.take(REQUEST)
    assert third.amount == Amount(0.0, 120)
    budget.settle(third, Amount(0.0, 150))
    assert (await budget.take(REQUEST)).amount == Amount(0.0, 150)


async def test_a_new_month_begins_with_nothing_spent_but_what_is_on_the_wire():
    ledger, clock = MemoryLedger(), [NOW]
    await keep(ledger, 30, NOW)
    await keep(ledger, 50, NOW - timedelta(days=30))
    budget = monthly(ledger, now=lambda: clock[0])
    on_the_wire = await budget.take(REQUEST)
    with pytest.raises(BudgetError, match="30 tokens spent"):
        await budget.take(REQUEST)
    clock[0] = NEXT_MONTH
    await budget.take(REQUEST)
    with pytest.raises(BudgetError, match="0 tokens spent, 80 tokens set aside"):
        await budget.take(REQUEST)
    budget.settle(on_the_wire, Amount(0.0, 25))
    assert budget.month.spent == Amount(0.0, 25)


async def test_what_other_processes_spend_of_the_month_is_seen_within_a_minute():
    ledger, clock = MemoryLedger(), [NOW]
    budget = monthly(ledger, now=lambda: clock[0])
    budget.settle(await budget.take(REQUEST), Amount())
    await keep(ledger, 90, NOW)
    budget.settle(await budget.take(REQUEST), Amount())
    clock[0] += timedelta(minutes=1)
    with pytest.raises(BudgetError, match="90 tokens spent"):
        await budget.take(REQUEST)


async def test_a_batch_sets_aside_what_a_batch_costs(bench):
    bench.settings = {"budget": {"usd": 5}}
    services = bench.services()
    realtime = (await budget_of(services, None)).worst(REQUEST)
    batch = (await budget_of(services, None, mode="batch")).worst(REQUEST)
    assert (batch.usd, batch.tokens) == (pytest.approx(realtime.usd / 2), realtime.tokens)


# --- in a plan


async def test_a_plan_tells_how_far_each_limit_goes(bench):
    bench.settings = {"model": {"max_tokens": MAX_TOKENS}}
    bench.answers_with(lambda _: '{"caption": "a cat"}')
    bench.source = ListSource([f"i{number}" for number in range(10)])
    await estimate(bench.services(), sample=2)
    bench.settings["budget"] = {"tokens_per_month": 660, "usd": 5}
    usd, tokens = (await estimate(bench.services())).budget
    assert (usd.key, usd.suffices, usd.calls) == ("budget.usd", True, 8)
    assert (tokens.key, tokens.left, tokens.suffices) == ("budget.tokens_per_month", 440, False)
    assert tokens.calls == 4
