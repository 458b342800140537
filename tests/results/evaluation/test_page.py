"""Pages of what was judged, and their pictures."""

import re

import pytest
from PIL import Image

from tests.results.evaluation.tables import COLUMNS, answer, write_lines, write_two_runs
from tests.results.runs import FIRST, Outputs
from vision_pipeline.results import diff, evaluate
from vision_pipeline.results.evaluation.page import DIFFERENCE, EVALUATION, write_found
from vision_pipeline.results.evaluation.thumbnails import local_thumbnail

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


@pytest.fixture
def truth(tmp_path):
    rows = [{"item_id": f"{name}.jpg", **answer()} for name in "abcd"]
    rows[1]["vendor"] = EVIL
    rows[0]["total"] = "about thirty"
    return write_lines(tmp_path / "truth.jsonl", rows)


def pages(outputs, truth, tmp_path):
    output = write_two_runs(outputs)
    found = (EVALUATION, evaluate(output, truth)), (DIFFERENCE, diff(output, truth=truth))
    for template, each in found:
        page = tmp_path / template
        write_found(template, each, page, thumbnail=lambda _: b"JPEG")
        yield each, page.read_text()


def test_pages_are_whole_and_load_nothing(outputs, truth, tmp_path):
    for found, page in pages(outputs, truth, tmp_path):
        assert page.startswith("<!doctype html>")
        assert page.endswith("</html>\n")
        assert "prefers-color-scheme: dark" in page
        assert 'src="data:image/jpeg;base64,SlBFRw=="' in page
        assert not re.search(r"(src|href)=.?(https?:|//)|url\(|@import", page)
        fragment = found._repr_html_()
        assert "<body" not in fragment
        assert "<img" not in fragment
        assert fragment.strip().endswith("</div>")


def test_whatever_a_model_or_a_truth_says_is_text(outputs, truth, tmp_path):
    (_, evaluation), _ = pages(outputs, truth, tmp_path)
    assert EVIL not in evaluation
    assert "&lt;img src=x onerror" in evaluation
    assert "1 true values cannot be read as number" in evaluation


def test_runs_with_other_fields_have_a_page_too(outputs, tmp_path):
    other = Outputs(str(tmp_path / "other"))
    other.run(FIRST, {"d.jpg": answer(), "a.jpg": "timeout"}, columns=COLUMNS[2:3])
    write_two_runs(outputs)
    found = diff(other.root, other=outputs.root)
    assert "Fields only after: day, is_food" in found._repr_html_()
    assert "Fields only before: day, is_food" in diff(outputs.root, other=other.root)._repr_html_()


def test_only_so_many_changed_cells_stand_on_a_page(outputs, tmp_path):
    other = Outputs(str(tmp_path / "other"))
    columns = COLUMNS[2:3]
    for each, off in ((outputs, 0), (other, 1)):
        answers = {f"{n:04}": {"total": float(n + off)} for n in range(1001)}
        each.shard_size = 2000
        each.run(FIRST, answers, columns=columns)
    drawn = []
    found = diff(outputs.root, other=other.root)
    write_found(DIFFERENCE, found, tmp_path / "d.html", thumbnail=drawn.append)
    assert "and 1 more" in (tmp_path / "d.html").read_text()
    assert len(drawn) == 300


def test_a_thumbnail_is_small_upright_and_on_white(tmp_path):
    turned = Image.new("RGB", (800, 400), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "b.png")
    for name, size in (("a.jpg", (50, 100)), ("b.png", (40, 20))):
        (tmp_path / "small.jpg").write_bytes(local_thumbnail(str(tmp_path / name), side_px=100))
        with Image.open(tmp_path / "small.jpg") as small:
            assert small.size == size
            assert small.getpixel((5, 5))[0] > 240


def test_what_cannot_be_shown_has_no_thumbnail(tmp_path, monkeypatch):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    for uri in (str(tmp_path / "bad.jpg"), "https://example.com/a.jpg", "/nowhere.jpg", "\0"):
        assert local_thumbnail(uri) is None
    Image.new("RGB", (40, 20)).save(tmp_path / "large.png")
    monkeypatch.setattr("vision_pipeline.results.evaluation.thumbnails._MOST_PIXELS", 799)
    assert local_thumbnail(str(tmp_path / "large.png")) is None
