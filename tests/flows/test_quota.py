"""A quota that a Prefect server keeps, and runs that share it."""

import asyncio
import logging

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.analyze_images import analyze_images
from flows.quota import PrefectQuota, quota_server
from vision_pipeline.cli.engines import run_local
from vision_pipeline.core.config import LimitsConfig
from vision_pipeline.core.errors import QuotaServerError
from vision_pipeline.core.limits import SHARED_FILL
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop

PER_S = 10


def open_quota(name):
    return PrefectQuota(name, requests_per_minute=60 * PER_S, tokens_per_minute=60_000)


async def limit_of(name):
    async with get_client() as client:
        return await client.read_global_concurrency_limit_by_name(name)


async def test_a_lease_is_used_when_all_before_it_are_used_up():
    one, other = open_quota("queue"), open_quota("queue")
    assert await one.lease("requests", 5 * PER_S) == 0
    assert await other.lease("requests", 5 * PER_S) == pytest.approx(5 / SHARED_FILL, abs=1.5)
    assert await one.lease("requests", 5 * PER_S) == pytest.approx(10 / SHARED_FILL, abs=2)
    assert await one.lease("tokens", 100) == 0
    await one.aclose()
    await other.aclose()


async def test_what_is_given_back_others_need_not_wait_for():
    quota = open_quota("returned")
    await quota.lease("requests", 10 * PER_S)
    await quota.give_back("requests", 10 * PER_S)
    assert await quota.lease("requests", PER_S) == 0
    await quota.aclose()


async def test_several_processes_make_one_limit_and_it_takes_the_latest_rate():
    quotas = [open_quota("made") for _ in range(4)]
    await asyncio.gather(*(quota.lease("tokens", 1) for quota in quotas))
    assert (await limit_of("made-tokens")).slot_decay_per_second == SHARED_FILL * 1000
    faster = PrefectQuota("made", requests_per_minute=1, tokens_per_minute=120_000)
    await faster.lease("tokens", 1)
    assert (await limit_of("made-tokens")).slot_decay_per_second == SHARED_FILL * 2000
    for quota in [*quotas, faster]:
        await quota.aclose()


async def test_more_than_the_server_can_count_is_leased_as_much_as_it_can():
    quota = PrefectQuota("vast", requests_per_minute=10**9, tokens_per_minute=10**12)
    assert await quota.lease("tokens", 10**12) == 0
    await quota.aclose()


async def test_a_limit_that_was_deleted_is_made_anew_at_the_next_try():
    quota = open_quota("deleted")
    await quota.lease("requests", 1)
    async with get_client() as client:
        await client.delete_global_concurrency_limit_by_name("deleted-requests")
    with pytest.raises(QuotaServerError, match="ObjectNotFound"):
        await quota.lease("requests", 1)
    assert await quota.lease("requests", 1) == 0
    await quota.aclose()


async def test_a_limit_that_was_switched_off_grants_nothing():
    quota = open_quota("off")
    await quota.lease("requests", 1)
    async with get_client() as client:
        await client.update_global_concurrency_limit(
            "off-requests", GlobalConcurrencyLimitUpdate(active=False)
        )
    with pytest.raises(QuotaServerError, match="off-requests is switched off"):
        await quota.lease("requests", 1)
    await quota.aclose()


async def test_without_a_server_there_is_no_lease_and_none_is_started():
    quota = open_quota("nowhere")
    with temporary_settings({PREFECT_API_URL: None}):
        with pytest.raises(QuotaServerError, match="PREFECT_API_URL"):
            await quota.lease("requests", 1)
        with pytest.raises(QuotaServerError, match="PREFECT_API_URL"):
            await quota.give_back("requests", 1)
    await quota.aclose()


async def test_a_server_that_does_not_answer_is_told_as_such():
    quota = open_quota("dead")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(QuotaServerError, match="ConnectError"):
            await quota.lease("requests", 1)
        with pytest.raises(QuotaServerError, match="ConnectError"):
            await quota.give_back("requests", 1)
    await quota.aclose()


def test_only_a_quota_with_a_name_is_shared():
    assert quota_server(LimitsConfig()) is None


@pytest.fixture
def shared_recipe(recipe):
    limits = {
        "requests_per_minute": 600,
        "tokens_per_minute": 10**9,
        "shared": {"name": recipe.output.path.replace("/", "."), "share": 0.5},
    }
    limits["shared"]["name"] = f"team{limits['shared']['name']}"
    return recipe.model_copy(update={"limits": LimitsConfig.model_validate(limits)})


async def test_a_flow_leases_what_it_asks_and_gives_the_rest_back(shared_recipe):
    name = f"{shared_recipe.limits.shared.name}-requests"
    with pytest.raises(ObjectNotFound):
        await limit_of(name)
    summary = await analyze_images(shared_recipe)
    assert summary.ok == 4
    limit = await limit_of(name)
    assert limit.slot_decay_per_second == 1000 * SHARED_FILL * 10
    assert limit.active_slots <= 4000


def test_a_run_without_prefects_engine_leases_too(shared_recipe):
    summary = run_local(shared_recipe, progress=Progress(), stop=Stop())
    assert summary.ok == 4
    name = f"{shared_recipe.limits.shared.name}-requests"
    assert asyncio.run(limit_of(name)).limit > 0


def test_a_run_without_a_server_goes_on_at_its_share(shared_recipe, caplog):
    with temporary_settings({PREFECT_API_URL: None}), caplog.at_level(logging.WARNING):
        summary = run_local(shared_recipe, progress=Progress(), stop=Stop())
    assert summary.ok == 4
