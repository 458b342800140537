"""A run of some items of a source: by time, by place, by earlier rows; in chunks."""

import asyncio
import base64
from datetime import UTC, date, datetime

import orjson
import pyarrow as pa
import pytest

from tests.fakes import ListSource, ScriptedModel
from tests.virtual_time import run_virtually
from vision_pipeline.core.activity import Stage
from vision_pipeline.core.errors import (
    AccessError,
    ConfigError,
    ErrorCode,
    ItemError,
    StoppedError,
)
from vision_pipeline.core.selection import ALL, Selection
from vision_pipeline.pipeline.chunks import WHOLE, Chunks
from vision_pipeline.pipeline.plan import plan_run
from vision_pipeline.pipeline.run import work_through

NAMES = ["a", "b", "c", "d", "e", "f"]


def image_of(request):
    url = request["messages"][-1]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition(",")[2]).decode()


def caption(request):
    return orjson.dumps({"caption": f"seen {image_of(request)}"}).decode()


@pytest.fixture
def six(bench):
    bench.source = ListSource(NAMES)
    bench.answers_with(caption)
    return bench


def asked(bench, **selection):
    """The images that a selection asks about."""
    bench.selection = Selection.model_validate(selection)
    bench.images.read_uris.clear()
    asyncio.run(bench.run())
    return sorted(bench.images.read_uris)


def ns(text):
    return str(int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9)


# --- by time


@pytest.fixture
def dated(six):
    """Files of the first to the sixth of November, noon."""
    six.source.versions = {
        name: ns(f"2026-11-0{day}T12:00") for day, name in enumerate(NAMES, start=1)
    }
    return six


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"since": "2026-11-05"}, "ef"),
        ({"until": "2026-11-02"}, "a"),
        ({"since": "2026-11-02T12:00", "until": "2026-11-04T12:00"}, "bc"),
        ({"since": "2026-11-02T12:00:00.000001", "until": "2026-11-04T12:00:00.000001"}, "cd"),
        ({"since": "2026-11-02T13:00+01:00", "until": "2026-11-03"}, "b"),
        ({"since": "2027-01-01"}, ""),
    ],
)
def test_the_time_of_a_file_decides(dated, selection, expected):
    assert "".join(asked(dated, **selection)) == expected


def test_a_group_is_as_new_as_its_newest_image(bench):
    class Groups(ListSource):
        def batches(self):
            [batch] = super().batches()
            refs = batch["images"].to_pylist()
            images = [refs[0] + refs[1], refs[2], refs[3] + refs[4]]
            yield pa.RecordBatch.from_pydict(
                {"item_id": ["x", "y", "z"], "images": pa.array(images, batch["images"].type)}
            )

    bench.source = Groups(["a", "b", "c", "d", "e"])
    bench.source.versions = {
        name: ns(f"2026-11-0{day}") for name, day in zip("abcde", (9, 1, 2, 3, 1), strict=True)
    }
    bench.answers_with(lambda _: orjson.dumps({"caption": "seen"}).decode())
    assert asked(bench, since="2026-11-03") == ["a", "b", "d", "e"]


def test_an_image_without_a_time_is_left_out_and_counted(dated):
    dated.source.versions |= {"b": "", "c": "9b2cf535f27731c974343645a3985328", "d": "12-3"}
    dated.source.versions["e"] = f"{dated.source.versions['e']}-512-0"  # a member of an archive
    assert asked(dated, since="2026-11-01") == ["a", "e", "f"]
    assert "left alone: 3 without a time" in dated.said[-1]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [({"until": "1969-01-01"}, "a"), ({"since": "2262-01-01"}, "bcd")],
)
def test_a_file_may_be_of_any_century(dated, selection, expected):
    years = {"a": "1960-01-01", "b": "2270-01-01", "c": "2290-01-01", "d": "2446-01-01"}
    dated.source.versions |= {name: ns(time) for name, time in years.items()}
    assert "".join(asked(dated, **selection)) == expected


@pytest.mark.parametrize(
    "values",
    [
        ["2026-11-01", "2026-11-02", "2026-11-03T23:59:59Z", "2026-11-04T00:00", None, "soon"],
        [date(2026, 11, day) for day in (1, 2, 3, 4)] + [None, None],
        [datetime(2026, 11, day, 5) for day in (1, 2, 3, 4)] + [None, None],  # noqa: DTZ001
        [datetime(2026, 11, day, 5, tzinfo=UTC) for day in (1, 2, 3, 4)] + [None, None],
    ],
)
@pytest.mark.parametrize("is_dictionary", [False, True])
def test_a_column_of_the_manifest_has_the_time(six, values, is_dictionary):
    column = pa.array(values)
    six.source.columns["taken"] = column.dictionary_encode() if is_dictionary else column
    wanted = {"since": "2026-11-02", "until": "2026-11-04", "date_column": "taken"}
    assert asked(six, **wanted) == ["b", "c"]
    assert "2 without a time, 2 not selected" in six.said[-1]


def test_a_column_that_is_not_there_or_no_time_is_named(six):
    six.source.columns |= {"zip": pa.array(range(6)), "at": pa.array([0] * 6, pa.time32("s"))}
    wanted = {"since": "2026-11-02"}
    with pytest.raises(ConfigError, match=r"date_column: taken: no such column .* are: at, zip"):
        asked(six, **wanted, date_column="taken")
    for name, kind in (("zip", "int64"), ("at", "time32")):
        with pytest.raises(ConfigError, match=rf"date_column: {name}: has the type {kind}.*; allo"):
            asked(six, **wanted, date_column=name)
    with pytest.raises(ConfigError, match="date_column: item_id: no such column"):
        asked(six, **wanted, date_column="item_id")
    assert six.run_ids() == []


# --- by place


class Batched(ListSource):
    """In batches of two."""

    def batches(self):
        [batch] = super().batches()
        for start in range(0, batch.num_rows, 2):
            yield batch.slice(start, 2)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"start": 1, "stop": 4}, "bcd"),
        ({"start": 4}, "ef"),
        ({"stop": 3}, "abc"),
        ({"start": 2, "stop": 3}, "c"),
        ({"start": 6}, ""),
        ({"stop": 600}, "abcdef"),
    ],
)
def test_the_place_in_the_source_decides(six, selection, expected):
    six.source = Batched(NAMES)
    assert "".join(asked(six, **selection)) == expected


def test_a_limit_of_the_source_holds_too(six):
    six.settings = {"source": {"path": "x", "limit": 3}}
    assert asked(six, start=1, stop=5) == ["b", "c"]


# --- by what was answered


@pytest.fixture
def two_versions(six):
    """Of six, `a` to `d` were answered by version 1 of a prompt, later `a` and `e` by version 2."""
    template = six.template
    asked(six, stop=4)
    six.template = template.replace("version: 1", "version: 2").replace("Caption", "Describe")
    six.source = ListSource(["a", "e"])
    asked(six)
    six.source = ListSource(NAMES)
    six.template = template.replace("version: 1", "version: 3").replace("Caption", "Name")
    return six


@pytest.mark.parametrize(("wanted", "expected"), [("p@1", "bcd"), ("p@2", "ae"), ("p", "abcde")])
def test_what_an_earlier_prompt_answered_is_asked_again(two_versions, wanted, expected):
    assert "".join(asked(two_versions, prompt=wanted)) == expected
    assert two_versions.column("caption").keys() >= set(expected)
    assert asked(two_versions, prompt="p@3") == []


def test_the_same_backfill_finds_nothing_the_second_time(two_versions):
    assert asked(two_versions, prompt="p@1") == ["b", "c", "d"]
    assert asked(two_versions, prompt="p@1") == []
    assert two_versions.said[-1].startswith("nothing to ask about; left alone: 6 not selected")


def test_a_prompt_or_model_that_no_run_asked_is_named_with_those_that_were(two_versions):
    with pytest.raises(ConfigError, match=r"prompt: no run here asked p@9; there are: p@1, p@2$"):
        asked(two_versions, prompt="p@9")
    with pytest.raises(
        ConfigError, match=r"model: no run here asked x; there are: m, mistral-small-2603$"
    ):
        asked(two_versions, model="x")


def test_without_any_run_no_prompt_was_asked(six):
    with pytest.raises(ConfigError, match="no run here asked p; there are: none"):
        asked(six, prompt="p")


def test_what_a_model_answered_is_found_by_either_of_its_names(two_versions):
    assert asked(two_versions, model="m") == ["a", "b", "c", "d", "e"]
    two_versions.template = two_versions.template.replace("Name", "Tell")
    assert asked(two_versions, model="mistral-small-2603") == ["a", "b", "c", "d", "e"]


def test_what_is_answered_already_is_left_alone_unless_all_is_to_be_fresh(six):
    asked(six)
    assert asked(six, stop=2) == []
    assert "nothing to ask about; left alone: 2 answered before" in six.said[-1]
    six.fresh = True
    assert asked(six, stop=2) == ["a", "b"]


def test_answers_of_images_that_are_gone_are_told(two_versions):
    two_versions.source = ListSource(["b", "f"])
    assert asked(two_versions, prompt="p@1") == ["b"]
    assert "2 answered and not in the source, 1 not selected" in two_versions.said[-1]


def test_what_lies_behind_the_limit_of_the_source_is_not_called_gone(two_versions):
    two_versions.settings = {"source": {"path": "x", "limit": 3}}
    assert asked(two_versions, prompt="p@1") == ["b", "c"]
    assert two_versions.said[-1].endswith("left alone: 1 not selected")


def test_a_later_error_takes_no_answer_away(two_versions):
    two_versions.answers_with(lambda _: ItemError(ErrorCode.TIMEOUT, "no reply"))
    assert asked(two_versions, prompt="p@1") == ["b", "c", "d"]
    assert two_versions.column("status")["b"] == "error"
    assert asked(two_versions, prompt="p@1", start=2) == ["c", "d"]
    assert asked(two_versions, prompt="p@3") == []  # asked, and never answered
    two_versions.answers_with(caption)
    assert asked(two_versions, model="mistral-small-2603") == ["a", "b", "c", "d", "e"]


def test_where_nothing_was_ever_answered_nothing_is_by_a_prompt(six):
    six.answers_with(lambda _: ItemError(ErrorCode.TIMEOUT, "no reply"))
    for _ in range(2):
        asked(six)
    assert asked(six, prompt="p") == []


# --- by error, and together


def test_an_error_and_a_place_narrow_each_other(six):
    six.answers_with(
        lambda request: (
            caption(request)
            if image_of(request) in "ad"
            else ItemError(ErrorCode.REFUSED_REQUEST, "no")
        )
    )
    asked(six)
    six.answers_with(caption)
    assert asked(six, codes=["refused_request"], start=2) == ["c", "e", "f"]
    assert asked(six, codes=["timeout"]) == []
    assert asked(six, codes=["refused_request"], prompt="p@1", model="m") == ["b"]


# --- cut off


def test_a_backfill_that_was_cut_off_is_finished_by_the_same_one_and_no_other(six):
    six.settings = {"output": {"path": six.root, "shard_size": 1}}
    six.answers_with(
        lambda request: AccessError("key") if image_of(request) == "c" else caption(request)
    )
    with pytest.raises(AccessError):
        asked(six, stop=4)
    six.answers_with(caption)
    asked(six, stop=5)
    assert len(six.run_ids()) == 2
    before = len(six.model.asked)
    assert asked(six, stop=4) == ["c", "d"]  # of the run that was cut off
    assert len(six.model.asked) == before
    six.selection = ALL
    assert asyncio.run(six.run()).already_answered == 5


def test_a_fresh_backfill_that_was_cut_off_pays_nothing_twice_whatever_ran_since(two_versions):
    two_versions.fresh = True
    two_versions.settings = {"limits": {"max_in_flight": 1}}
    two_versions.answers_with(
        lambda request: AccessError("key") if image_of(request) == "d" else caption(request)
    )
    with pytest.raises(AccessError):
        asked(two_versions, prompt="p@1")
    two_versions.answers_with(caption)
    two_versions.fresh = False
    assert asked(two_versions, start=5) == ["f"]
    two_versions.fresh = True
    two_versions.model.asked.clear()
    assert asked(two_versions, prompt="p@1") == ["b", "c", "d"]
    assert [image_of(each) for each in two_versions.model.asked] == ["d"]


def test_a_run_tells_in_its_file_which_items_it_was_about(six):
    asked(six, since="2020-01-01", stop=4, codes=["timeout"])
    assert six.run_ids() == []
    asked(six, stop=4)
    [run_id] = six.run_ids()
    assert six.services().results.read_run(run_id)["selection"] == {"stop": 4}


# --- chunks


def planned(bench, items, shard_size=2):
    bench.source = ListSource([f"{number:02}" for number in range(items)])
    bench.settings = {"output": {"path": bench.root, "shard_size": shard_size}}
    services = bench.services()
    return services, plan_run(services, now=datetime(2026, 11, 22, tzinfo=UTC), token="abcd")  # noqa: S106


def test_chunks_are_worked_on_one_after_the_other_with_a_pause_between(bench):
    bench.chunks = Chunks(items=4, pause_s=60)
    services, run = planned(bench, 10)
    begun = []

    async def do_shard(shard):
        begun.append((shard, asyncio.get_running_loop().time()))
        await asyncio.sleep(1)
        return 2

    run_virtually(work_through(services, run, do_shard))
    shards, times = zip(*begun, strict=True)
    assert shards == (0, 1, 2, 3, 4)
    assert times == pytest.approx((0, 0, 61, 61, 122), abs=0.01)


def test_a_stop_ends_the_pause(bench):
    bench.chunks = Chunks(items=2, pause_s=1e6)
    services, run = planned(bench, 4)
    begun = []

    async def do_shard(shard):
        begun.append(shard)
        asyncio.get_running_loop().call_later(5, services.stop.by_user)
        return 2

    async def timed():
        with pytest.raises(StoppedError):
            await work_through(services, run, do_shard)
        return asyncio.get_running_loop().time()

    assert run_virtually(timed()) == pytest.approx(5, abs=0.01)
    assert begun == [0]


def test_the_pause_is_told_and_charged_to_itself(bench):
    bench.chunks = Chunks(items=2, pause_s=0.05)
    services, run = planned(bench, 4)
    activity = services.progress.activity
    news = []

    async def do_shard(_shard):
        return 2

    async def listen():
        working = asyncio.ensure_future(work_through(services, run, do_shard))
        while not working.done():
            await asyncio.sleep(0)
            news.append(activity.held_by)

    asyncio.run(listen())
    assert Stage.CHUNKS in news
    assert activity.held_by is None
    assert activity.seconds[Stage.CHUNKS] >= 0.05


@pytest.mark.parametrize(
    ("items", "rows", "expected"),
    [
        (None, [5, 5, 5], [[0, 1, 2]]),
        (10, [5, 5, 5], [[0, 1], [2]]),
        (9, [5, 5, 5], [[0], [1], [2]]),
        (1, [5, 1], [[0], [1]]),
        (100, [5, 5, 5], [[0, 1, 2]]),
    ],
)
def test_a_chunk_has_no_more_items_than_it_may(items, rows, expected):
    assert Chunks(items).cut(range(len(rows)), rows) == expected


def test_no_shards_make_no_chunks():
    assert WHOLE.cut([], []) == []


def test_a_shard_is_no_larger_than_a_chunk(bench):
    bench.chunks = Chunks(items=3)
    _, run = planned(bench, 8, shard_size=500)
    assert run.shard_rows == (3, 3, 2)


# --- what is told before it is done


def test_what_will_be_asked_is_told_before_it_is_asked(six):
    six.chunks = Chunks(items=2, pause_s=0.01)
    six.settings = {"budget": {"usd": 5, "tokens": 10_000}}
    told = []
    six.model = ScriptedModel(lambda request: (told.append(list(six.said)), caption(request))[1])
    asked(six, start=1)
    assert told[0] == [
        "5 items to ask about, from b to f; in 3 chunks of at most 2, 0.01 s between them; for at "
        "most 5 USD and 10,000 tokens; left alone: 1 not selected"
    ]


def test_one_item_is_told_by_its_name_without_what_would_steer_a_terminal(bench):
    bench.source = ListSource(["\x1b[2Ja"])
    bench.answers_with(caption)
    asked(bench, stop=1)
    assert bench.said == ["1 items to ask about, \\x1b[2Ja"]


def test_what_is_left_of_a_run_that_was_cut_off_is_told(six):
    six.settings = {"output": {"path": six.root, "shard_size": 2}}
    six.answers_with(
        lambda request: AccessError("key") if image_of(request) == "f" else caption(request)
    )
    with pytest.raises(AccessError):
        asked(six, stop=6)
    six.answers_with(caption)
    asked(six, stop=6)
    assert six.said[-1].startswith("2 items to ask about, left of 6 of a run that was cut off")


def test_chunks_of_a_run_that_was_cut_off_are_told_as_they_are(six):
    six.settings = {"output": {"path": six.root, "shard_size": 3}}
    six.answers_with(lambda _: AccessError("key"))
    with pytest.raises(AccessError):
        asked(six, stop=6)
    six.answers_with(caption)
    six.chunks = Chunks(items=2)
    asked(six, stop=6)
    assert "in 2 chunks of at most 3 (not 2: so it was begun), 0 s between" in six.said[-1]


def test_a_run_of_everything_tells_nothing(six):
    asked(six)
    assert six.said == []
