"""A retry asks about what failed, and about nothing else."""

import asyncio
import base64

import orjson
import pytest

from tests.fakes import ListSource, MemoryImages
from vision_pipeline.core.errors import AccessError, ErrorCode, ItemError
from vision_pipeline.core.selection import ALL, FAILED, Selection
from vision_pipeline.pipeline.estimate import estimate


def image_of(request):
    url = request["messages"][-1]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition(",")[2]).decode()


def caption(request):
    return orjson.dumps({"caption": f"seen {image_of(request)}"}).decode()


def except_for(failures):
    """Captions, and errors for some images."""
    return lambda request: failures.get(image_of(request)) or caption(request)


@pytest.fixture
def failed(bench):
    """A run of which `b` was refused and `c` timed out; what comes later is answered."""
    errors = {
        "b": ItemError(ErrorCode.REFUSED_REQUEST, "HTTP 400: no"),
        "c": ItemError(ErrorCode.TIMEOUT, "no reply"),
    }
    bench.answers_with(except_for(errors))
    asyncio.run(bench.run())
    bench.answers_with(caption)
    bench.images = MemoryImages()
    bench.selection = FAILED
    return bench


def test_items_that_failed_are_asked_again_and_others_not_even_read(failed):
    summary = asyncio.run(failed.run())
    assert failed.images.read_uris == ["b", "c"]
    assert (summary.items, summary.ok, summary.calls, summary.exit_code) == (2, 2, 2, 0)
    assert failed.column("caption") == {"a": "seen a", "b": "seen b", "c": "seen c"}


@pytest.mark.parametrize(("code", "item_id"), [("refused_request", "b"), ("timeout", "c")])
def test_a_code_names_what_is_retried(failed, code, item_id):
    failed.selection = Selection(codes=(code,))
    asyncio.run(failed.run())
    assert failed.images.read_uris == [item_id]


def test_what_is_mended_is_not_retried(failed):
    asyncio.run(failed.run())
    summary = asyncio.run(failed.run())
    assert (summary.run_id, summary.items, summary.exit_code) == (None, 0, 0)


def test_the_next_run_leaves_alone_what_a_retry_has_answered(failed):
    asyncio.run(failed.run())
    failed.selection = ALL
    assert asyncio.run(failed.run()).already_answered == 3


def test_an_output_without_runs_has_nothing_to_retry(bench):
    bench.selection = FAILED
    assert asyncio.run(bench.run()).run_id is None


def test_a_limit_hides_no_errors(failed):
    failed.settings = {"source": {"path": "x", "limit": 1}}
    assert asyncio.run(failed.run()).items == 2


def test_errors_of_images_that_are_gone_are_told(failed):
    failed.source = ListSource(["a", "b"])
    summary = asyncio.run(failed.run())
    assert summary.items == 1
    assert summary.skipped == {"failed_and_not_in_the_source": 1}


def test_a_retry_that_was_cut_off_is_finished_and_pays_nothing_twice(failed):
    failed.settings = {"limits": {"max_in_flight": 1}}
    failed.answers_with(except_for({"c": AccessError("no")}))
    with pytest.raises(AccessError):
        asyncio.run(failed.run())
    paid = len(failed.ledger.replies)
    failed.answers_with(caption)
    summary = asyncio.run(failed.run())
    assert (summary.resumed, summary.items, summary.ok) == (True, 2, 2)
    assert len(failed.ledger.replies) == 3
    assert summary.calls == 3 - paid


def test_a_retry_that_later_runs_have_overtaken_is_planned_anew(failed):
    failed.answers_with(except_for({"c": AccessError("no")}))
    with pytest.raises(AccessError):
        asyncio.run(failed.run())
    failed.answers_with(caption)
    failed.selection, wanted = ALL, failed.selection
    asyncio.run(failed.run())  # transient errors are tried again by every run
    failed.selection = wanted
    summary = asyncio.run(failed.run())
    assert (summary.resumed, summary.items) == (False, 1)


def test_an_answer_that_was_of_no_use_is_asked_for_anew(bench):
    bench.source = ListSource(["a", "copy"])
    bench.images = MemoryImages(copy=b"a")
    bench.answers_with(lambda _: "no json")
    asyncio.run(bench.run())
    bench.answers_with(caption)
    bench.selection = FAILED
    summary = asyncio.run(bench.run())
    assert (summary.ok, summary.calls, summary.from_ledger) == (2, 1, 1)
    assert summary.cost_usd == pytest.approx(120e-6)


def test_an_answer_that_is_of_no_use_again_is_not_asked_for_a_third_time(bench):
    bench.source = ListSource(["a", "copy"])
    bench.images = MemoryImages(copy=b"a")
    bench.answers_with(lambda _: "no json")
    asyncio.run(bench.run())
    bench.selection = FAILED
    summary = asyncio.run(bench.run())
    assert (summary.failed, summary.calls) == (2, 2)  # the question, and its repair


@pytest.mark.parametrize(
    ("then", "fresh", "expected"),
    [("no json", False, (1, 0)), (None, False, (0, 1)), (None, True, (1, 0))],
)
def test_an_estimate_counts_the_calls_that_a_retry_makes(bench, then, fresh, expected):
    bench.source = ListSource(["a"])
    bench.answers_with(lambda _: "no json")
    asyncio.run(bench.run())
    if then is None:  # somebody has asked the same since, and got an answer
        bench.answers_with(caption)
        bench.source, bench.images = ListSource(["copy"]), MemoryImages(copy=b"a")
        bench.fresh = True
        asyncio.run(bench.run())
        bench.source = ListSource(["a"])
    bench.selection, bench.fresh = FAILED, fresh
    found = asyncio.run(estimate(bench.services()))
    assert (found.to_ask, found.from_ledger) == expected
    calls = asyncio.run(bench.run()).calls
    assert (calls > 0) == (found.to_ask > 0)


def test_a_reply_that_another_item_has_paid_for_since_is_used(bench):
    bench.source = ListSource(["a"])
    bench.answers_with(lambda _: ItemError(ErrorCode.TIMEOUT, "no reply"))
    asyncio.run(bench.run())
    bench.source, bench.images = ListSource(["copy"]), MemoryImages(copy=b"a")
    bench.answers_with(caption)
    asyncio.run(bench.run())
    bench.source, bench.selection = ListSource(["a"]), FAILED
    summary = asyncio.run(bench.run())
    assert (summary.ok, summary.calls, summary.from_ledger) == (1, 0, 1)


def test_a_run_tells_in_its_file_that_it_was_a_retry(failed):
    services = failed.services()
    summary = asyncio.run(failed.run(services))
    assert services.results.read_run(summary.run_id)["selection"] == FAILED.told()
