"""The question: one key for everything that changes the answer, and for nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.prompts import parse_template
from vision_pipeline.core.question import (
    Question,
    complaint_text,
    content_identity,
    item_key,
    link_identity,
    repair,
)
from vision_pipeline.core.records import LinkedImage, PreparedImage, Turn
from vision_pipeline.core.tokens import DEFAULT_RULE, TokenRule, text_tokens


def template(text="Read it.", *, head=""):
    source = f"---\nversion: 1\ndescription: d\nschema: null\n{head}\n---\n{text}\n"
    return parse_template(source, file="prompts/read.md")


def image(sha256="ab", *, width_px=700, height_px=979):
    return PreparedImage(
        source_sha256=sha256,
        source_bytes=9,
        source_format="PNG",
        source_width_px=4000,
        source_height_px=3000,
        media_type="image/png",
        data=b"png",
        width_px=width_px,
        height_px=height_px,
    )


QUESTION = Question(
    template=template(),
    model="mistral-small-2603",
    decoding={"temperature": 0.0, "max_tokens": 1000, "extra": {"a": 1, "b": [1, 2]}},
    preparation={"max_side_px": 1540, "quality": 90},
    endpoint="mistral",
    rule=DEFAULT_RULE,
)
KEY = QUESTION.ask("Read it.", [image()]).idempotency_key


def test_the_same_question_about_the_same_bytes_has_the_same_key():
    renamed = replace(image(), source_bytes=9, data=b"encoded by a newer Pillow")
    assert QUESTION.ask("Read it.", [renamed]).idempotency_key == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"template": template("Read all of it.")},
        {"template": template(head="system: You read.")},
        {"model": "mistral-large-2512"},
        {"decoding": QUESTION.decoding | {"temperature": 0.1}},
        {"decoding": QUESTION.decoding | {"extra": {"a": 1, "b": [2, 1]}}},
        {"preparation": QUESTION.preparation | {"quality": 85}},
        {"endpoint": "http://localhost:8000/v1"},
    ],
)
def test_whatever_changes_the_answer_changes_the_key(change):
    changed = replace(QUESTION, **change)
    assert changed.sha256 != QUESTION.sha256
    assert changed.ask("Read it.", [image()]).idempotency_key != KEY


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("Read this.", [image()]),
        ("Read it.", []),
        ("Read it.", [image("cd")]),
        ("Read it.", [image(), image()]),
        ("Read it.", [LinkedImage("ab")]),
    ],
)
def test_another_text_or_other_images_change_the_key(text, images):
    assert QUESTION.ask(text, images).idempotency_key != KEY


def test_the_order_of_images_changes_the_key():
    keys = {
        QUESTION.ask("Compare.", [image(one), image(other)]).idempotency_key
        for one, other in [("ab", "cd"), ("cd", "ab")]
    }
    assert len(keys) == 2


def test_a_schema_changes_the_question():
    source = (
        "---\nversion: 1\ndescription: d\n"
        "schema: {type: object, properties: {a: {type: string}}}\n---\nRead it."
    )
    changed = replace(QUESTION, template=parse_template(source, file="prompts/read.md"))
    assert changed.sha256 != QUESTION.sha256


def with_schema(schema, head=""):
    source = f"---\nversion: 1\ndescription: d\nschema: {schema}\n{head}---\nRead it."
    return replace(QUESTION, template=parse_template(source, file="prompts/read.md"))


def test_questions_that_differ_in_their_schema_alone_are_told_as_such():
    changed = with_schema("{type: object, properties: {a: {type: string}}}")
    assert changed.sha256 != QUESTION.sha256
    assert changed.unshaped_sha256 == QUESTION.unshaped_sha256


@pytest.mark.parametrize(
    "changed",
    [
        with_schema("null", head="system: Briefly.\n"),
        replace(QUESTION, template=template("Read all of it.")),
        replace(QUESTION, model="mistral-large-2512"),
        replace(QUESTION, decoding=QUESTION.decoding | {"temperature": 0.1}),
        replace(QUESTION, preparation=QUESTION.preparation | {"quality": 85}),
        replace(QUESTION, endpoint="http://localhost:8000/v1"),
    ],
)
def test_whatever_else_differs_is_another_question_whatever_the_schema(changed):
    assert changed.unshaped_sha256 != QUESTION.unshaped_sha256


@pytest.mark.parametrize(
    ("images", "identities"),
    [
        ([image("ab")], [content_identity("ab", None)]),
        ([replace(image("ab"), page=3)], [content_identity("ab", 3)]),
        ([LinkedImage("https://h/a")], [link_identity("https://h/a")]),
        ([image("ab"), image("cd")], [content_identity("ab", None), content_identity("cd", None)]),
    ],
)
def test_a_key_can_be_told_without_the_images(images, identities):
    key = QUESTION.ask("Read it.", images).idempotency_key
    assert item_key(QUESTION.sha256, "Read it.", identities) == key


@pytest.mark.parametrize(
    "change",
    [
        {"rule": TokenRule(16, 1024)},
        {"template": replace(QUESTION.template, version="2", description="e", file="f", name="n")},
        {"decoding": dict(reversed(QUESTION.decoding.items()))},
        {"decoding": QUESTION.decoding | {"extra": {"b": [1, 2], "a": 1}}},
    ],
)
def test_what_is_ours_alone_does_not_change_the_question(change):
    assert replace(QUESTION, **change).sha256 == QUESTION.sha256


keys = st.text(max_size=4)
bodies = st.dictionaries(keys, st.integers() | st.dictionaries(keys, st.booleans(), max_size=3))


@given(bodies, st.randoms(use_true_random=False))
def test_the_key_does_not_depend_on_the_order_of_fields(body, random):
    fields = list(body.items())
    random.shuffle(fields)
    one, other = (replace(QUESTION, decoding=dict(each)) for each in (body, fields))
    assert one.sha256 == other.sha256


@given(bodies, bodies)
def test_keys_are_equal_only_for_equal_fields(one, other):
    digests = {replace(QUESTION, decoding=each).sha256 for each in (one, other)}
    assert (len(digests) == 1) is (one == other)


@given(st.text() | st.text('a"\ud800\udfff'))
def test_any_text_has_a_key(text):
    assert len(QUESTION.ask(text, [image()]).idempotency_key) == 64


def test_tokens_are_those_of_text_images_and_the_frame():
    # The receipt of the vendor's vision page, 910 tokens, with 3 around a lone user message.
    request = QUESTION.ask("Read this receipt", [image(), image()])
    assert request.estimated_tokens == text_tokens("Read this receipt") + 910 + 910 + 3


def test_a_system_message_costs_its_text_and_its_frame():
    asked = replace(QUESTION, template=template(head="system: You read."))
    plain, framed = (each.ask("Read.", []).estimated_tokens for each in (QUESTION, asked))
    assert framed == plain + 3 + 2


def test_a_linked_image_counts_as_the_largest():
    assert QUESTION.image_tokens(LinkedImage("https://example.com/a.jpg")) == 3080
    assert QUESTION.image_tokens(image()) == 910


def test_a_request_carries_what_the_template_says():
    asked = replace(QUESTION, template=template(head="system: You read."))
    request = asked.ask("Read.", [image()])
    assert (request.system, request.text, request.images) == ("You read.", "Read.", (image(),))
    assert request.turns == ()


def test_a_repair_repeats_the_exchange_under_a_key_of_its_own():
    request = QUESTION.ask("Read it.", [image()])
    again = repair(request, reply_text="[]", complaint="not an object")
    assert again.turns == (Turn("[]", "not an object"),)
    assert again.images == request.images
    assert again.idempotency_key != request.idempotency_key
    assert again.estimated_tokens > request.estimated_tokens


@pytest.mark.parametrize(
    ("reply_text", "complaint"), [("{}", "not an object"), ("[]", "too short"), ("", "")]
)
def test_another_exchange_is_another_repair(reply_text, complaint):
    request = QUESTION.ask("Read it.", [image()])
    one = repair(request, reply_text="[]", complaint="not an object")
    other = repair(request, reply_text=reply_text, complaint=complaint)
    assert one.idempotency_key != other.idempotency_key


def test_a_complaint_says_what_is_wrong_and_asks_for_no_form_of_its_own():
    assert "the answer is empty" in complaint_text("the answer is empty")
    assert "JSON" not in complaint_text("the answer is empty")
