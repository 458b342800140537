"""The start of a truth, and the way back."""

import csv

import pytest

from tests.results.evaluation.tables import COLUMNS, answer, write_two_runs
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.results import evaluate
from vision_pipeline.results.evaluation.starting import start_truth

KIND = [("kind", Scalar.CHOICE)]


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_kind_of_row_is_drawn(outputs, tmp_path):
    started = start_truth(write_two_runs(outputs), tmp_path / "t.csv", count=3)
    assert started.strata == {
        "answered differently by two runs": (1, 2),
        "errors": (1, 1),
        "paid_by: card": (1, 1),
    }
    rows = {row["item_id"]: row for row in read(tmp_path / "t.csv")}
    assert rows["c.jpg"]["vendor"] == ""
    assert rows["d.jpg"] == {
        "item_id": "d.jpg",
        "image_uri": "/images/d.jpg",
        "vendor": "Tannbeck Cafe",
        "day": "2026-11-06",
        "total": "30.4",
        "paid_by": "card",
        "is_food": "true",
        "labels": '["cafe","lunch"]',
        "place.city": "Port Ellery",
        "place.zip": "0042",
        "lines": '[{"name":"Tea","price":3.8},{"name":"Plum tart","price":11.3}]',
        "checked": "",
    }


def test_what_was_drawn_becomes_truth_once_it_is_checked(outputs, tmp_path):
    output, file = write_two_runs(outputs), tmp_path / "t.csv"
    start_truth(output, file, count=9)
    with pytest.raises(ConfigError, match="no row is checked"):
        evaluate(output, str(file))
    rows = read(file)
    for row in rows:
        row["checked"] = "" if row["item_id"] == "b.jpg" else "x"
    rows[0]["total"] = "30.40"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = evaluate(output, str(file))
    assert (found.rows, found.unchecked, found.errors) == (3, 1, 1)
    assert (found["total"].right, found["lines"].right, found.right) == (1, 2, 1)


def test_classes_are_drawn_in_proportion_and_one_at_least(outputs, tmp_path):
    answers = {f"{n:03}": {"kind": "Rare" if n == 7 else "Food"} for n in range(100)}
    answers["100"] = {"kind": None}
    outputs.run(FIRST, answers, columns=KIND)
    started = start_truth(outputs.root, tmp_path / "t.csv", count=10)
    assert started.strata == {
        "kind: Food": (8, 99),
        "kind: Rare": (1, 1),
        "kind: (nothing)": (1, 1),
    }
    again = start_truth(outputs.root, tmp_path / "again.csv", count=10)
    other = start_truth(outputs.root, tmp_path / "other.csv", count=10, seed=1)
    texts = [(tmp_path / f"{name}.csv").read_text() for name in ("t", "again", "other")]
    assert texts[0] == texts[1] != texts[2]
    assert again.strata == other.strata


def test_a_text_of_few_answers_serves_as_classes(outputs, tmp_path):
    answers = {str(n): {"note": str(n), "kind": "ab"[n % 2]} for n in range(8)}
    outputs.run(FIRST, answers, columns=[("note", Scalar.STRING), ("kind", Scalar.STRING)])
    started = start_truth(outputs.root, tmp_path / "t.csv", count=2)
    assert set(started.strata) == {"kind: a", "kind: b"}
    chosen = start_truth(outputs.root, tmp_path / "u.csv", count=2, stratify="note")
    assert len(chosen.strata) == 2


def test_where_no_field_has_classes_all_answers_are_one(outputs, tmp_path):
    answers = {str(n): {"note": str(n)} for n in range(8)}
    outputs.run(FIRST, answers, columns=[("note", Scalar.STRING)])
    assert start_truth(outputs.root, tmp_path / "t.csv", count=3).strata == {"answers": (3, 8)}


def test_an_answer_that_came_back_is_no_disagreement(outputs, tmp_path):
    for run_id, kind in ((FIRST, "a"), (SECOND, "b"), ("20261103T000000Z-cccc", "b")):
        outputs.run(run_id, {"1": {"kind": kind}}, columns=KIND)
    assert set(start_truth(outputs.root, tmp_path / "t.csv", count=1).strata) == {"kind: b"}


def test_runs_whose_types_do_not_fit_tell_of_no_disagreement(outputs, tmp_path):
    outputs.run(FIRST, {"a": {"total": "one"}}, columns=[("total", Scalar.STRING)])
    outputs.run(SECOND, {"a": {"total": 0.5}}, columns=[("total", Scalar.NUMBER)])
    assert start_truth(outputs.root, tmp_path / "t.csv", count=1).strata == {"answers": (1, 1)}


def test_somebodys_work_is_not_overwritten(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    for name in ("t.csv", "t.html"):
        (tmp_path / name).write_text("work")
        with pytest.raises(ConfigError, match="is there already"):
            start_truth(outputs.root, tmp_path / "t.csv", count=1)
        (tmp_path / name).unlink()


def test_a_field_that_is_not_there_is_refused(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    with pytest.raises(ConfigError, match=r"no field 'totl'; .*did you mean `total`"):
        start_truth(outputs.root, tmp_path / "t.csv", count=1, stratify="totl")


def test_a_place_that_cannot_be_written_is_named(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/t\.csv: cannot be written"):
        start_truth(outputs.root, tmp_path / "file" / "t.csv", count=1)


def test_the_page_holds_pictures_choices_and_nothing_that_runs_from_an_answer(outputs, tmp_path):
    evil = "</textarea></script><script>alert(1)</script>"
    answers = {"a.jpg": answer(vendor=evil), "b.jpg": answer()}
    outputs.run(FIRST, answers, columns=COLUMNS)
    drawn = []

    def thumbnail(uri):
        drawn.append(uri)
        return b"JPEG" if uri.endswith("a.jpg") else None

    start_truth(outputs.root, tmp_path / "t.csv", count=2, thumbnail=thumbnail)
    page = (tmp_path / "t.html").read_text()
    assert drawn == ["/images/a.jpg", "/images/b.jpg"]
    assert "data:image/jpeg;base64,SlBFRw==" in page
    assert "no picture here: /images/b.jpg" in page
    assert "<option selected>card</option>" in page
    assert page.count("<script>") == 1
    assert 'const rows = [{"item_id": "a.jpg", "image_uri": "/images/a.jpg", "vendor": ' in page
    assert "alert(1)</script>" not in page


def test_a_truth_to_correct_is_a_csv(outputs, tmp_path):
    with pytest.raises(ConfigError, match=r"name a \.csv file"):
        start_truth(write_two_runs(outputs), tmp_path / "t.parquet", count=3)
