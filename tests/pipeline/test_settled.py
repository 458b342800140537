"""Items that need no work, and web images that changed behind their URL."""

import orjson
import pyarrow as pa
import pytest

from tests.fakes import IMAGES, ListSource
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.pipeline.settled import Settled

URL, OTHER = "https://example.org/a.png", "https://example.org/b.png"


def captioned(_request):
    return orjson.dumps({"caption": "a flag"}).decode()


class Web(ListSource):
    """Images of the web: their source tells no version."""

    def batches(self):
        refs = [[{"uri": name, "size_bytes": None, "version": ""}] for name in self.names]
        yield pa.RecordBatch.from_pydict({"item_id": self.names, "images": pa.array(refs, IMAGES)})


@pytest.fixture
def web(bench):
    """A bench whose images come with ETags, and what its server is asked."""
    bench.source = Web([URL, OTHER])
    bench.answers_with(captioned)
    bench.asked, bench.etags = [], {URL: "v1", OTHER: "v1"}

    async def read(ref):
        read = await type(bench.images).read(bench.images, ref)
        return type(read)(read.data + bench.etags[ref.uri].encode(), bench.etags[ref.uri])

    def is_changed(known):
        bench.asked += known
        return [bench.etags[url] != version for url, version in known]

    bench.images.read = read
    bench.is_changed = is_changed
    return bench


async def test_nobody_asks_for_changes_before_something_was_answered(web):
    summary = await web.run()
    assert summary.ok == 2
    assert web.asked == []


async def test_an_unchanged_web_image_is_left_alone_and_a_changed_one_is_asked_anew(web):
    await web.run()
    web.etags[URL] = "v2"
    summary = await web.run()
    assert sorted(web.asked) == [(URL, "v1"), (OTHER, "v1")]
    assert (summary.items, summary.already_answered) == (1, 1)
    assert web.column("image_version")[URL] == "v2"
    summary = await web.run()
    assert (summary.items, summary.already_answered) == (0, 2)


async def test_without_the_switch_no_server_is_asked(web):
    await web.run()
    web.etags[URL], web.is_changed = "v2", None
    summary = await web.run()
    assert summary.already_answered == 2


async def test_a_server_that_tells_no_version_is_not_asked(web):
    web.etags = {URL: "", OTHER: "v1"}
    await web.run()
    await web.run()
    assert web.asked == [(OTHER, "v1")]


class WebPair(Web):
    """One item of two images."""

    def batches(self):
        refs = [{"uri": name, "size_bytes": None, "version": ""} for name in self.names]
        yield pa.RecordBatch.from_pydict({"item_id": ["pair"], "images": pa.array([refs], IMAGES)})


async def test_a_group_is_asked_anew_when_one_of_its_images_changed(web):
    web.source = WebPair([URL, OTHER])
    await web.run()
    assert (await web.run()).already_answered == 1
    web.etags[OTHER] = "v2"
    summary = await web.run()
    assert (summary.items, summary.already_answered) == (1, 0)


def half_sent(web):
    """The server gives half of the first image."""
    web.images.contents[URL] = b"bad"


async def test_a_web_image_that_was_bad_is_asked_for_when_the_server_has_another(web):
    half_sent(web)
    assert (await web.run()).failed == 1
    assert web.column("image_version")[URL] == "v1"
    summary = await web.run()
    assert (summary.items, summary.already_failed) == (0, 1)
    web.images.contents[URL], web.etags[URL] = b"whole", "v2"
    summary = await web.run()
    assert (summary.items, summary.ok, summary.already_answered) == (1, 1, 1)


async def test_a_web_image_that_was_bad_is_read_again_where_no_version_is_told(web):
    half_sent(web)
    web.etags[URL] = ""
    await web.run()
    assert (await web.run()).failed == 1
    web.images.contents[URL] = b"whole"
    assert (await web.run()).ok == 1
    assert [url for url, _ in web.asked] == [OTHER, OTHER]


async def test_what_was_refused_for_another_reason_than_its_bytes_is_left_alone(web):
    web.etags[URL] = ""
    web.answers_with(lambda _: ItemError(ErrorCode.REFUSED_REQUEST, "no"))
    await web.run()
    assert (await web.run()).already_failed == 2


async def test_without_the_switch_a_bad_web_image_stays_bad(web):
    half_sent(web)
    web.etags[URL], web.is_changed = "", None
    await web.run()
    assert (await web.run()).already_failed == 1


@pytest.mark.parametrize(
    ("uri", "listed", "is_asked"),
    [
        ("/data/a.png", "1", False),
        ("/data/missing.png", "", False),
        ("s3://bucket/a.png", "etag", False),  # listed, and so known to be the same
        ("s3://bucket/a.png", "", True),
        ("https://host/a.png", "", True),
        ("zip://a.png::s3://bucket/a.zip", "", False),
    ],
)
def test_only_images_of_which_the_source_tells_no_version_are_asked_for(uri, listed, is_asked):
    prints = pa.array(["ab" * 16])
    outcomes = pa.table(
        {"_fingerprint": prints, "is_answer": [True], "is_unread": [False], "versions": [["1"]]}
    )
    images = pa.array([[{"uri": uri, "version": listed}]], IMAGES)
    answered, failed = Settled(outcomes, lambda known: [True]).masks(images, prints)
    assert answered.to_pylist() == [not is_asked]
    assert failed.to_pylist() == [False]
