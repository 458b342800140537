"""Items of several images, linked images, and what their rows tell."""

import orjson
import pyarrow as pa

from tests.fakes import IMAGES, ListSource


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
    assert [image["sha256"] for image in images] == ["sha-before", None]
    assert bench.column("error_code") == {"group": "unreadable_image"}


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
