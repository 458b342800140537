"""Items of several images, linked images, and what their rows tell."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import orjson
import pyarrow as pa

from tests.fakes import IMAGES, ListSource, MemoryImages


class PageSource(ListSource):
    """Each file's first two pages."""

    def batches(self):
        for name in self.names:
            pages = [{"uri": name, "size_bytes": 1, "version": "1", "page": n} for n in (1, 2)]
            ids = [f"{name}#page={n}" for n in (1, 2)]
            images = pa.array([[page] for page in pages], IMAGES)
            yield pa.RecordBatch.from_pydict({"item_id": ids, "images": images})


class CountingImages(MemoryImages):
    """Knows how many were read at once."""

    def __init__(self):
        super().__init__()
        self.at_once = self.most = 0

    async def read(self, ref):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return await super().read(ref)


class GroupSource(ListSource):
    """One item of several images."""

    def batches(self):
        refs = [{"uri": name, "size_bytes": 1, "version": "1"} for name in self.names]
        yield pa.RecordBatch.from_pydict({"item_id": ["group"], "images": pa.array([refs], IMAGES)})


def captioned(_request):
    return orjson.dumps({"caption": "both"}).decode()


async def test_a_group_goes_out_in_one_request_and_its_row_lists_its_images(bench):
    bench.source = GroupSource(["before", "after"])
    bench.answers_with(captioned)
    await bench.run()
    [request] = bench.model.asked
    assert [part["type"] for part in request["messages"][0]["content"]] == [
        "text",
        "image_url",
        "image_url",
    ]
    [images] = bench.column("images").values()
    assert [image["uri"] for image in images] == ["before", "after"]
    assert [image["sha256"] for image in images] == ["sha-before", "sha-after"]
    assert bench.column("image_uri") == {"group": "before"}


async def test_a_group_with_one_bad_image_still_tells_of_the_others(bench):
    bench.source = GroupSource(["before", "bad"])
    bench.answers_with(captioned)
    await bench.run()
    [images] = bench.column("images").values()
    digest = sha256(b"bad").hexdigest()
    assert [image["sha256"] for image in images] == ["sha-before", digest]
    assert [image["bytes"] for image in images] == [6, 3]
    assert bench.column("error_code") == {"group": "unreadable_image"}
    assert bench.column("error_detail") == {"group": "bad: not an image"}


async def test_an_image_that_could_not_be_prepared_is_told_as_far_as_it_is_known(bench):
    bench.source = ListSource(["bad", "missing"])
    await bench.run()
    assert bench.column("image_sha256") == {"bad": sha256(b"bad").hexdigest(), "missing": None}
    assert bench.column("image_bytes") == {"bad": 3, "missing": None}
    assert bench.column("image_version") == {"bad": "1", "missing": None}
    assert bench.column("error_detail")["bad"] == "not an image"


async def test_more_images_than_the_prompt_takes_are_one_error_row(bench):
    bench.source = GroupSource(["one", "two", "three"])
    await bench.run()
    assert bench.column("error_code") == {"group": "image_count"}
    assert "1 to 2" in bench.column("error_detail")["group"]


async def test_a_linked_image_is_not_read(bench):
    bench.settings = {"image": {"send": "url"}, "source": {"manifest": "urls.csv"}}
    bench.source = ListSource(["https://example.org/a.jpg"])
    bench.answers_with(captioned)
    await bench.run()
    [request] = bench.model.asked
    assert request["messages"][0]["content"][1]["image_url"]["url"] == "https://example.org/a.jpg"
    assert bench.images.read_uris == []
    assert bench.column("image_sha256") == {"https://example.org/a.jpg": None}


async def test_a_long_data_url_is_cut_in_the_row(bench):
    bench.source = ListSource(["data:image/png;base64," + "A" * 500])
    bench.answers_with(captioned)
    await bench.run()
    [shown] = bench.column("image_uri").values()
    assert len(shown) < 250
    assert shown.endswith("…")


async def test_a_template_that_fails_on_a_value_is_one_error_row(bench):
    bench.source = ListSource(["a", "b"], price=[1.5, None])
    bench.template = bench.template.replace("Caption this.", "{{ '%.2f' % price }}")
    bench.answers_with(captioned)
    await bench.run()
    assert bench.column("error_code") == {"a": None, "b": "unrendered_prompt"}


async def test_the_images_of_a_group_share_the_bytes_of_a_request(bench):
    bench.source = GroupSource(["before", "after"])
    bench.answers_with(captioned)
    services = replace(bench.services(), max_request_bytes=1000, max_image_bytes=800)
    await bench.run(services)
    assert {most for _, _, most in bench.preparer.asked} == {500}
    bench.source = ListSource(["alone"])
    await bench.run(replace(bench.services(), max_request_bytes=1000, max_image_bytes=800))
    assert bench.preparer.asked[-1] == (b"alone", None, 800)


async def test_a_page_is_prepared_asked_and_named_on_its_own(bench):
    bench.source = PageSource(["doc.pdf"])
    bench.answers_with(captioned)
    await bench.run()
    assert sorted(page for _, page, _ in bench.preparer.asked) == [1, 2]
    assert len(bench.model.asked) == 2
    assert bench.column("image_uri") == {
        "doc.pdf#page=1": "doc.pdf#page=1",
        "doc.pdf#page=2": "doc.pdf#page=2",
    }


async def test_a_row_tells_the_version_that_was_read_and_what_is_not_shown(bench):
    bench.source = ListSource(["a"])
    bench.source.versions = {"a": "etag-7"}
    bench.answers_with(captioned)
    await bench.run()
    assert bench.column("image_version") == {"a": "etag-7"}
    assert bench.column("image_note") == {"a": None}


async def test_images_are_read_some_at_a_time(bench):
    names = [f"image-{number}" for number in range(30)]
    bench.source, bench.images = ListSource(names), CountingImages()
    bench.answers_with(captioned)
    await bench.run()
    assert bench.images.most == 4
