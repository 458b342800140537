"""The commands that judge: `evaluate` and `diff`."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.results.evaluation.tables import COLUMNS, answer, write_lines, write_two_runs
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.results import load

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


@pytest.fixture
def output(outputs):
    return write_two_runs(outputs)


@pytest.fixture
def truth(tmp_path):
    rows = [{"image": f"{name}.jpg", "truth": answer()} for name in "abcd"]
    return write_lines(tmp_path / "truth.jsonl", [*rows, {"image": "z.jpg"}])


def test_an_evaluation_is_shown(command, output, truth):
    ended = command("evaluate", output, "--truth", truth)
    assert ended.code == 0
    for told in (
        f"4 rows matched by item_id (`image` of {truth}); of {output}: latest row of each item",
        "only in the truth: 1: z.jpg",
        "truths: vendor from `truth.vendor`, day from `truth.day`",
        "answered: 75.0% [30.1, 95.4] of the rows; 1 errors count as wrong",
        "right in every field: 25.0% [4.6, 69.9] (1 of 4)",
        "labels: found 75.0% (6 of 8), 100.0% of what was found is true",
        "cost: 0.0800 USD, 0.0800 for each right row",
        "paid_by: true classes down, answers across",
        "(invalid_answer)",
    ):
        assert told in ended.out
    assert re.search(r"total +number +4 +3 +2 +50\.0% \[15\.0, 85\.0\]", ended.out)


def test_an_evaluation_is_json_too(command, output, truth):
    ended = command("evaluate", output, "--truth", truth, "--json", "--run", "previous")
    found = json.loads(ended.out)
    assert (found["label"], found["right"], found["below"]) == (FIRST, 3, [])
    assert found["fields"][2]["accuracy"]["likely"] == 0.75


def test_a_minimum_that_is_not_met_ends_with_1(command, output, truth):
    met = command("evaluate", output, "--truth", truth, "--min", "total=0.5")
    assert (met.code, "--min: met by total" in met.out) == (0, True)
    missed = command(
        *("evaluate", output, "--truth", truth, "--min", "total=0.5"),
        *("--min", "vendor=0.9", "--min", "labels.recall=0.9"),
    )
    assert missed.code == 1
    assert "below --min: vendor is 50.0%, less than 90.0%" in missed.out
    assert "below --min: labels.recall is 75.0%, less than 90.0%" in missed.out
    assert "total is" not in missed.out


def test_runs_stand_side_by_side(command, output, truth):
    ended = command("evaluate", output, "--truth", truth, "--runs")
    assert ended.code == 0
    assert re.search(rf"field +{FIRST} +{SECOND}", ended.out)
    assert re.search(r"total +75\.0% \[.*\] +50\.0% \[", ended.out)
    assert re.search(r"labels recall +75\.0% +75\.0%", ended.out)
    both = json.loads(command("evaluate", output, "--truth", truth, "--runs", "--json").out)
    assert [each["label"] for each in both] == [FIRST, SECOND]


def test_a_field_that_only_some_runs_have_stands_there_alone(command, outputs, truth):
    for run_id, columns in ((FIRST, COLUMNS[:3]), (SECOND, COLUMNS[2:6])):
        outputs.run(run_id, {"a.jpg": answer()}, columns=columns)
    out = command("evaluate", outputs.root, "--truth", truth, "--runs", "--worst", 0).out
    assert re.search(r"vendor +100\.0% \[[^]]*\] *\n", out)
    assert re.search(r"labels recall +100\.0% *\n", out)


def test_options_rename_and_choose(command, output, tmp_path):
    truth = write_lines(tmp_path / "t.jsonl", [{"file": "d.jpg", "x": "a.jpg", "sum": "EUR 30,41"}])
    options = ("--map", "sum=total", "--key", "file")
    wrong = command("evaluate", output, "--truth", truth, *options, "--worst", 1)
    assert "0.0% [0.0, 79.3]" in wrong.out
    assert re.search(r"total +d\.jpg +EUR 30,41 +30\.4 +0\.00", wrong.out)
    right = command("evaluate", output, "--truth", truth, *options, "--compare", "total=money:0.02")
    assert "worst answers" not in right.out
    assert "right in every field: 100.0%" in right.out


def test_what_the_truth_leaves_open_is_told(command, output, tmp_path):
    truth = tmp_path / "t.csv"
    truth.write_text("item_id,total,day,checked\na.jpg,about thirty,26/11/2026,x\nb.jpg,30.4,,\n")
    out = command("evaluate", output, "--truth", truth).out
    assert "not checked yet, and left out: 1 rows" in out
    assert "day: the truth writes dates day first" in out
    assert "total: 1 true values cannot be read as number" in out
    assert "without a truth: 3: b.jpg, c.jpg, d.jpg" in out
    out = command("evaluate", output, "--truth", truth, "--unchecked").out
    assert "not checked" not in out
    assert "2 rows matched" in out


def test_many_classes_are_shown_by_their_mistakes(command, outputs, tmp_path):
    answers = {str(n): {"kind": f"kind {n}"} for n in range(13)}
    outputs.run(FIRST, answers, columns=[("kind", Scalar.CHOICE)], from_ledger=True, cost_usd=0.0)
    rows = [{"item_id": str(n), "kind": f"kind {max(1, n)}"} for n in range(13)]
    truth = write_lines(tmp_path / "t.jsonl", rows)
    out = command("evaluate", outputs.root, "--truth", truth).out
    assert "1 of kind 1 taken for kind 0" in out
    assert "13 rows cost nothing, from the ledger" in out


def test_a_table_without_prices_tells_no_cost(command, outputs, truth):
    outputs.run(FIRST, {"a.jpg": answer(vendor="x" * 300)}, columns=COLUMNS)
    out = command("evaluate", outputs.root, "--truth", truth).out
    assert "cost:" not in out
    assert "x" * 160 + "…" in out.replace("\n", "").replace(" ", "")


def test_of_a_transcript_the_words_that_differ_are_shown(command, outputs, tmp_path):
    answers = {"a": {"text": "one two\nfour"}, "b": {"text": "one"}}
    outputs.run(FIRST, answers, columns=[("text", Scalar.STRING)])
    rows = [{"item_id": "a", "text": "one\ntwo three"}, {"item_id": "b", "text": None}]
    out = command("evaluate", outputs.root, "--truth", write_lines(tmp_path / "t.jsonl", rows)).out
    assert re.search(r"text +a +missing: three +not true: four +0\.67", out)
    out = command(
        *("evaluate", outputs.root, "--truth", tmp_path / "t.jsonl", "--compare", "text=exact")
    ).out
    assert re.search(r"text +b +\(nothing\) +one +0\.00", out)


def test_pages_are_written(command, output, truth, tmp_path):
    for name, call in (
        ("e.html", ("evaluate", output, "--truth", truth)),
        ("d.html", ("diff", output)),
    ):
        assert command(*call, "--html", tmp_path / name).code == 0
        assert "</html>" in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "name the true answers with --truth FILE, or begin some with --start-truth N"),
        (("--truth", "T", "--start-truth", "3"), "leave out --truth"),
        (("--truth", "T", "--runs", "--min", "total=1"), "--runs shows all runs"),
        (("--truth", "T", "--min", "total=95"), "--min: total=95: allowed: a share from 0 to 1"),
        (("--truth", "T", "--min", "total=x"), "--min: total=x: allowed"),
        (("--truth", "T", "--min", "total"), "--min: 'total' is not NAME=VALUE"),
        (("--truth", "T", "--map", "a=total", "--map", "a=day"), "--map: 'a' is given twice"),
        (("--truth", "T", "--compare", "total=mony"), "did you mean `money`"),
        (("--truth", "T", "--min", "totl=1"), "did you mean `total`"),
    ],
)
def test_options_that_make_no_sense_end_with_2(command, output, truth, options, told):
    ended = command("evaluate", output, *(truth if each == "T" else each for each in options))
    assert ended.code == 2
    assert told in ended.err


def test_a_truth_is_begun_and_taken_once_it_is_checked(command, output, tmp_path):
    file = tmp_path / "begun.csv"
    ended = command("evaluate", output, "--start-truth", 4, "--out", file)
    assert ended.code == 0
    assert "2 of 2: answered differently by two runs" in ended.out
    assert f"evaluate {output} --truth {file}" in ended.out
    assert file.with_suffix(".html").is_file()
    text = file.read_text()
    assert command("evaluate", output, "--truth", file).code == 2
    file.write_text(re.sub(r",(\r?\n)", r",x\1", text))
    found = json.loads(command("evaluate", output, "--truth", file, "--json").out)
    assert (found["rows"], found["right"]) == (4, 3)
    again = command("evaluate", output, "--start-truth", 4, "--out", file)
    assert (again.code, "is there already" in again.err) == (2, True)
    begun = command("evaluate", output, "--start-truth", 1, "--out", tmp_path / "b.csv", "--json")
    assert json.loads(begun.out)["table"] == str(tmp_path / "b.csv")


def test_two_runs_are_shown_side_by_side(command, output, truth):
    ended = command("diff", output, "aaaa", "latest", "--truth", truth)
    assert ended.code == 0
    for told in (
        "4 items in both, 2 answered in both; 3 cells changed, 1 errors gained, 1 lost",
        f"before: {output}, {FIRST}: caption v3, mistral-small-2603; 1 errors, 0.0400 USD, 1.00 s",
        "change: cost +0.0400 USD, latency +2.00 s",
        "total: right 3 before, 2 after of 4 (1 gained, 2 lost): -25.0 points",
        "may be chance (p = 1)",
    ):
        assert told in ended.out
    for cells in (
        r"total +a\.jpg +30\.4 +31\.0",
        r"vendor +b\.jpg +Tannbeck Cafe +Tannbeck",
        r"error +c\.jpg +\(answered\) +invalid_answer",
        r"error +d\.jpg +timeout +\(answered\)",
        r"total +1 +50\.0% \[",
    ):
        assert re.search(cells, ended.out)


def test_a_difference_is_json_too(command, output):
    found = json.loads(command("diff", output, "--json").out)
    assert found["before"]["label"] == FIRST
    assert found["fields"][2]["changed"][0]["after"] == 31.0


def test_two_outputs_are_compared(command, output, tmp_path):
    other = Outputs(str(tmp_path / "other"))
    columns = (*COLUMNS[:2], ("tip", Scalar.NUMBER))
    answers = {"a.jpg": answer() | {"tip": 1.0}, "b.jpg": "timeout"}
    other.run(FIRST, answers, columns=columns, image_sha256="y")
    ended = command("diff", output, other.root, "--show", 0)
    assert ended.code == 0
    assert "fields only before: is_food, labels, lines, paid_by, place, total" in ended.out
    assert "fields only after: tip" in ended.out
    assert "no list price" in ended.out
    assert "and 1 more: --show N" in ended.out
    assert command("diff", output, output).code == 0


def test_another_image_is_told(command, outputs):
    for run_id, digest in ((FIRST, "x"), (SECOND, "y")):
        outputs.run(run_id, {"a": answer()}, columns=COLUMNS, image_sha256=digest, from_ledger=True)
    out = command("diff", outputs.root).out
    assert "1 items have another image than before" in out
    assert "(1 from the ledger)" in out


def test_a_second_output_that_is_none_is_refused_with_what_may_be_meant(command, output):
    ended = command("diff", output, "aaaa")
    assert ended.code == 2
    assert f"two runs of one output are `diff {output} RUN_A RUN_B`" in ended.err


def test_word_recall_is_that_of_a_few_lines_by_hand(command, tmp_path):
    pytest.importorskip("rapidocr")
    samples, output = ROOT / "data" / "samples", tmp_path / "out"
    ended = command(
        *("run", ROOT / "configs" / "demo.yaml", "--engine", "local", "--output", output),
        *("--source", samples, "--set", "source.include=[receipt-cafe.jpg, label-parcel.png]"),
    )
    assert ended.code == 0
    truth = samples / "truth.jsonl"
    judged = command("evaluate", output, "--truth", truth, "--map", "text_lines=text", "--json")
    text = next(each for each in json.loads(judged.out)["fields"] if each["field"] == "text")
    read = load(str(output)).set_index("item_id")["text"]
    found = wanted = 0
    for line in truth.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["image"] in read:
            true = Counter(re.findall(r"[a-z0-9]+", " ".join(entry["text_lines"]).lower()))
            left = Counter(re.findall(r"[a-z0-9]+", read[entry["image"]].lower()))
            found += sum(min(count, left[word]) for word, count in true.items())
            wanted += sum(true.values())
    assert (text["rows"], text["found"], text["wanted"]) == (2, found, wanted)
    assert text["recall"] == found / wanted > 0.9


def test_runs_of_another_prompt_are_left_out_of_the_comparison_of_runs(command, outputs, truth):
    write_two_runs(outputs)
    other = (("caption", Scalar.STRING),)
    outputs.run("20261103T000000Z-cccc", {"a.jpg": {"caption": "x"}}, columns=other)
    ended = command("evaluate", outputs.root, "--truth", truth, "--runs", "--json")
    assert [each["label"] for each in json.loads(ended.out)] == [FIRST, SECOND]
    assert "run 20261103T000000Z-cccc is left out" in ended.err
