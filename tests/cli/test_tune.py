"""The command `tune`, against the emulator's synthetic answers."""

import json

import pytest

from vision_pipeline.results import load

PROMPT = """---
version: 1
description: d
schema: {type: object, properties: {kind: {enum: [a, b]}}, required: [kind]}
---
Which kind?"""


@pytest.fixture
def tuned(recipe_file, recipe, tmp_path):
    """A recipe of four pictures, and a truth about three of them."""
    (tmp_path / "kind.md").write_text(PROMPT)
    truth = tmp_path / "truth.csv"
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())[:3]
    truth.write_text("image,kind\n" + "".join(f"{name},a\n" for name in names))
    return [recipe_file, "--truth", truth, "--set", f"prompt={tmp_path / 'kind.md'}"]


OVER = ["--over", "image.max_side_px=32,64"]


def test_settings_are_tried_on_the_images_of_the_truth_and_put_side_by_side(
    command, tuned, recipe, tmp_path
):
    ended = command("tune", *tuned, *OVER, "--html", tmp_path / "tune.html")
    assert ended.code == 0
    assert "over 3 images; *: frontier" in ended.out
    assert "max_side_px" in ended.out
    folders = sorted(path.name for path in (tmp_path / "out" / "tune").iterdir())
    assert folders == ["image.max_side_px=32", "image.max_side_px=64"]
    assert len(load(str(tmp_path / "out" / "tune" / folders[0]))) == 3
    assert "<svg" in (tmp_path / "tune.html").read_text()


def test_the_same_command_pays_nothing_again(command, tuned):
    first = json.loads(command("tune", *tuned, *OVER, "--json").out)
    again = command("tune", *tuned, *OVER, "--json", "--max-cost", "0.0000001")
    assert again.code == 0
    assert json.loads(again.out) == first


def test_what_may_be_spent_is_kept_and_the_rest_follows(command, tuned):
    stopped = command("tune", *tuned, *OVER, "--max-cost", "0.0000001")
    assert stopped.code == 3
    assert "is used up" in " ".join(stopped.err.split())
    assert command("tune", *tuned, *OVER).code == 0


def test_a_minimum_names_the_cheapest_or_ends_with_1(command, tuned):
    met = command("tune", *tuned, *OVER, "--min", "0")
    assert (met.code, "cheapest of at least 0.0%" in met.out) == (0, True)
    missed = command("tune", *tuned, "--over", "image.max_side_px=32", "--min", "1")
    assert missed.code in (0, 1)


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ("image.max_side_px=32,", "a value is empty, or comes twice"),
        ("image.max_side_px=32,32", "a value is empty, or comes twice"),
        ("image.max_side=32", "image.max_side"),
        ("nothing", "is not NAME=VALUE"),
        ("model.name=pixtral-12b-2409", "was retired"),
    ],
)
def test_what_cannot_be_tried_is_said_before_any_call(command, tuned, tmp_path, over, told):
    settings = ["--set", "model.provider=mistral"] if "pixtral" in over else []
    ended = command("tune", *tuned, "--over", over, *settings)
    assert ended.code == 2
    assert told in " ".join(ended.err.split())
    assert not (tmp_path / "out" / "tune").exists()


def test_a_field_that_answers_do_not_have_is_named_before_any_call(command, tuned, tmp_path):
    ended = command("tune", *tuned, *OVER, "--field", "nope")
    assert ended.code == 2
    assert "no field 'nope'; there are: kind" in " ".join(ended.err.split())
    assert not (tmp_path / "out" / "tune").exists()


def test_what_cannot_be_judged_or_paid_for_is_said_before_any_call(command, tuned, tmp_path):
    unjudged = command("tune", *tuned, "--over", "prompt=describe")
    assert unjudged.code == 2
    assert "none of its columns is a field" in " ".join(unjudged.err.split())
    unpriced = command("tune", *tuned, "--over", "model.name=nobody-knows", "--max-cost", "1")
    assert unpriced.code == 2
    assert "has no list price" in " ".join(unpriced.err.split())
    elsewhere = command("tune", *tuned, "--over", f"output.path={tmp_path / 'a'}")
    assert elsewhere.code == 2
    assert not (tmp_path / "out" / "tune").exists()
