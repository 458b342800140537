"""Reports as files; what their pages do is tested in a browser."""

import re
import shutil
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import numpy as np
import orjson
import pytest

from tests.results.reports import HOSTILE, no_prompt, prompt, receipts, write
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import ListOf, Scalar, StructOf
from vision_pipeline.core.errors import ErrorCode, ItemError, OutputError
from vision_pipeline.results.report import Sources, write_report
from vision_pipeline.results.report.charts import latency_plot, rate_plot, share_bar
from vision_pipeline.results.report.entries import MOST_CHARS
from vision_pipeline.results.report.figures import figures_of
from vision_pipeline.results.table import open_folder

CAPTION = (("caption", Scalar.STRING),)
PAID = {"prompt_tokens": 1_500_000, "completion_tokens": 10, "cost_usd": 2.5, "latency_s": 0.5}


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


def items(path):
    """The items that a page holds, as its script reads them."""
    found = re.findall(r'class="item" data-number="(\d+)">(.*?)</script>', path.read_text("utf-8"))
    assert [int(number) for number, _ in found] == list(range(len(found)))
    return [orjson.loads(document) for _, document in found]


def test_a_report_is_one_file_that_loads_nothing(tmp_path):
    report = write(receipts(tmp_path, 9), tmp_path / "a" / "report.html", find_prompt=prompt)
    page = report.path.read_text("utf-8")
    assert (report.pages, report.shown, report.items) == (1, 10, 10)
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert not re.search(r'<[^>]*\s(?:src|href)="', page)
    assert page.count("</script>") == page.count("<script")
    assert HOSTILE not in page
    assert "\u202e" not in page.partition("<main")[0]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.html"]


def test_an_item_has_its_values_its_origin_and_its_images(tmp_path):
    [first, second, third, *_] = items(write(receipts(tmp_path, 9), tmp_path / "r.html").path)
    assert (first["id"], first["ok"], first["values"]) == (
        "0000.png",
        True,
        ["Shop 0", 0.0, "Food", True],
    )
    assert first["about"]["model"] == "mistral-small-2603"
    assert first["reply"] == HOSTILE
    assert (second["images"][0]["why"], third["images"][0]["why"][:8]) == ("", "the file")


def test_many_items_become_a_folder_of_pages(tmp_path):
    output = receipts(tmp_path, 9)
    write(output, tmp_path / "report.html", page_items=2)
    report = write(output, tmp_path / "report.html", page_items=4)
    names = ["index.html", "page-2.html", "page-3.html"]
    assert report.path == tmp_path / "report" / "index.html"
    assert sorted(path.name for path in report.path.parent.iterdir()) == names
    pages = [report.path.with_name(name) for name in names]
    assert [len(items(page)) for page in pages] == [4, 4, 2]
    assert 'href="page-3.html"' in pages[0].read_text("utf-8")
    assert ["Figures" in page.read_text("utf-8") for page in pages] == [True, False, False]


def test_only_the_first_items_are_shown_and_all_are_counted(tmp_path):
    report = write(receipts(tmp_path, 9), tmp_path / "report.html", limit=3)
    assert (report.shown, len(items(report.path))) == (3, 3)
    assert "The first 3 of 10 items are shown" in report.path.read_text("utf-8")


def test_the_latest_rows_are_shown_or_those_of_a_run(tmp_path, outputs):
    outputs.run(FIRST, {"a": {"caption": "one"}, "b": {"caption": "two"}}, columns=CAPTION, **PAID)
    outputs.run(SECOND, {"b": "timeout"}, columns=CAPTION, finished=True, **PAID)
    latest = items(write(outputs.root, tmp_path / "latest.html").path)
    assert [(item["id"], item["code"]) for item in latest] == [("a", None), ("b", "timeout")]
    first = write(outputs.root, tmp_path / "first.html", run_id=FIRST)
    assert [item["values"] for item in items(first.path)] == [["one"], ["two"]]
    page = (tmp_path / "latest.html").read_text("utf-8")
    assert "7.50" in page
    assert "4.5 M" in page
    with pytest.raises(OutputError, match="no run 'r9'"):
        write(outputs.root, tmp_path / "no.html", run_id="r9")


def test_values_of_every_type_are_shown_and_long_ones_cut(tmp_path, outputs):
    line = ListOf(StructOf((("name", Scalar.STRING), ("price", Scalar.NUMBER))))
    columns = [("on", Scalar.DATE), ("at", Scalar.TIMESTAMP), ("n", Scalar.INTEGER)]
    columns += [("lines", line), ("text", Scalar.STRING)]
    answer = {
        "on": date(2026, 1, 2),
        "at": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "n": 2**60,
        "lines": [{"name": "a", "price": 1.5}],
        "text": "x" * (MOST_CHARS + 5),
    }
    outputs.run(FIRST, {"a": answer}, columns=columns)
    [item] = items(write(outputs.root, tmp_path / "r.html").path)
    on, at, big, lines, text = item["values"]
    assert (on, at, big) == ("2026-01-02", "2026-01-02T03:00:00+00:00", str(2**60))
    assert lines == [{"name": "a", "price": 1.5}]
    assert text.endswith("x… and 5 characters more")


def test_figures_are_of_replies(outputs, tmp_path):
    at = datetime(2026, 1, 2, tzinfo=UTC)
    for number in range(3):
        paid = PAID | {"answered_at": at + timedelta(seconds=40 * number)}
        outputs.run(
            f"2026110{number}T000000Z-aaaa",
            {f"{number}": {"caption": "x"}},
            columns=CAPTION,
            **paid,
        )
    figures = figures_of(open_folder(outputs.root), None)
    assert (figures.items, figures.ok, figures.calls, figures.cost_usd) == (3, 3, 3, 7.5)
    assert (figures.most_in_a_minute, figures.percentiles_s[99]) == (1, 0.5)


def test_a_run_file_tells_quota_and_time_and_one_that_is_gone_is_done_without(outputs, tmp_path):
    outputs.run(
        FIRST,
        {"a": {"caption": "x"}},
        columns=CAPTION,
        answered_at=datetime(2026, 1, 2, tzinfo=UTC),
        **PAID,
    )
    path = tmp_path / "out" / "runs" / f"{FIRST}.json"
    document = orjson.loads(path.read_bytes())
    traffic = {
        "sent": 3,
        "refused": 1,
        "failed": 0,
        "requests_per_minute": 10.0,
        "tokens_per_minute": 5e5,
    }
    document["summary"] = {
        "traffic": traffic,
        "seconds_by_stage": {"endpoint": 2.0},
        "advice": "<b>",
    }
    path.write_bytes(orjson.dumps(document))
    page = write(outputs.root, tmp_path / "r.html").path.read_text("utf-8")
    assert "10%" in page
    assert "500,000" in page
    assert "endpoint" in page
    assert "&lt;b&gt;" in page
    path.write_bytes(b"{")
    with pytest.raises(OutputError, match="damaged"):
        write(outputs.root, tmp_path / "r.html")
    path.unlink()
    shutil.rmtree(tmp_path / "out" / "manifests")
    assert len(items(write(outputs.root, tmp_path / "r.html").path)) == 1


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path, outputs):
    outputs.run(FIRST, {"a": {"caption": "x"}}, columns=CAPTION)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write(outputs.root, tmp_path / "file" / "r.html")
    (tmp_path / "r.html").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write(outputs.root, tmp_path / "r.html")
    assert not list(tmp_path.glob(".*"))


def test_plots_need_something_to_show():
    assert latency_plot(np.zeros(1)) == rate_plot(np.zeros(5)) == share_bar({}, unit="s") == ""
    assert latency_plot(np.arange(9.0)).count("<rect") == 24
    times = np.arange(0, 9000, 10.0)
    assert "2.5 h" in rate_plot(times)
    assert "4 within 1 s" in rate_plot(np.arange(0, 20.25, 0.25))
    assert share_bar({"a": 9999, "b": 1}, unit="s").count("<rect") == 1


def test_what_breaks_while_images_are_drawn_ends_the_threads_first(tmp_path, outputs):
    events = []
    outputs.run(FIRST, {f"{n}": {"caption": "x"} for n in range(30)}, columns=CAPTION)

    @contextmanager
    def failing(_settings):
        def draw(_ref):
            events.append("drawn")
            raise ItemError(ErrorCode.SOURCE_MISSING, "gone")

        try:
            yield draw
        finally:
            events.append("closed")

    def stop(done, _all):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(outputs.root, tmp_path / "r.html", Sources(failing, no_prompt), progress=stop)
    assert events[-1] == "closed"
    assert 3 <= events.count("drawn") < 30
    assert not list(tmp_path.glob("*.html")) + list(tmp_path.glob(".*"))
