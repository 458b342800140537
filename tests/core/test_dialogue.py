"""Asking, and asking once more."""

from dataclasses import replace

import pytest

from vision_pipeline.core.dialogue import dialogue, read_answer
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import Turn, VisionReply, VisionRequest
from vision_pipeline.core.schema import UnusableAnswerError, parse_schema

REQUEST = VisionRequest(
    idempotency_key="ab", system=None, text="Read it.", images=(), estimated_tokens=8
)
SCHEMA = parse_schema(
    {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]},
    where="prompts/receipt.md: schema",
)


def reply(text, finish_reason="stop"):
    return VisionReply(
        text=text,
        finish_reason=finish_reason,
        model="small",
        prompt_tokens=9,
        completion_tokens=7,
        cached_tokens=0,
    )


def talk(*replies, schema=SCHEMA):
    """Hold the dialogue with a model that says these replies; what was asked, and the answer."""
    turns = dialogue(REQUEST, schema)
    asked = [next(turns)]
    try:
        for said in replies:
            asked.append(turns.send(said))
    except StopIteration as end:
        return asked, end.value
    pytest.fail("the dialogue wants more replies")


def test_a_usable_answer_is_asked_for_once():
    asked, answer = talk(reply('{"total": 3.5}'))
    assert asked == [REQUEST]
    assert answer.values == {"total": 3.5}
    assert not answer.repaired


def test_free_text_is_the_answer_as_it_stands():
    _, answer = talk(reply(" A cat.\n"), schema=None)
    assert answer.values == {"answer": " A cat.\n"}


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "eos", None])
def test_an_unknown_reason_to_finish_is_no_fault(reason):
    _, answer = talk(reply('{"total": 1}', reason))
    assert answer.values == {"total": 1.0}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("total: 3", "not valid JSON"),
        ('{"total": "3"}', "/total"),
        ('{"sum": 3}', "total"),
        ("[3]", "object"),
        ("", "empty"),
        (" \n", "empty"),
        (None, "empty"),
    ],
)
def test_an_unusable_answer_is_asked_for_again_with_what_is_wrong(text, complaint):
    asked, answer = talk(reply(text), reply('{"total": 3}'))
    [turn] = asked[1].turns
    assert turn.reply_text == (text or "")
    assert complaint in turn.complaint
    assert answer.values == {"total": 3.0}
    assert answer.repaired


def test_an_answer_that_the_server_broke_off_is_asked_for_again():
    asked, answer = talk(reply("A c", "error"), reply("A cat."), schema=None)
    assert asked[1].turns[0].reply_text == "A c"
    assert answer.values == {"answer": "A cat."}


def test_a_second_unusable_answer_ends_it():
    with pytest.raises(ItemError) as caught:
        talk(reply("no"), reply('{"total": null}'))
    assert caught.value.code == ErrorCode.INVALID_ANSWER
    assert "/total" in caught.value.detail


def test_an_empty_reply_twice_ends_it():
    with pytest.raises(ItemError) as caught:
        talk(reply(None), reply(""), schema=None)
    assert caught.value.code == ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize("before", [[], [reply("no")]])
@pytest.mark.parametrize("text", ['{"total": 3}', '{"tot', None])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("length", ErrorCode.TRUNCATED_ANSWER),
        ("model_length", ErrorCode.TRUNCATED_ANSWER),
        ("content_filter", ErrorCode.CONTENT_FILTERED),
    ],
)
def test_a_cut_or_filtered_answer_is_never_repaired(before, text, reason, code):
    with pytest.raises(ItemError) as caught:
        talk(*before, reply(text, reason))
    assert caught.value.code == code


def test_a_cut_answer_says_how_long_it_was_and_what_to_raise():
    with pytest.raises(ItemError, match=r"7 tokens.*model\.max_tokens"):
        talk(reply("{", "length"))


def test_the_repair_repeats_the_first_exchange_alone():
    [first, second], _ = talk(reply("no"), reply('{"total": 3}'))
    assert replace(second, idempotency_key="ab", estimated_tokens=8, turns=()) == first
    assert second.turns == (Turn("no", second.turns[0].complaint),)


def test_an_answer_can_be_read_for_its_own_keys_alone():
    assert read_answer(reply('{"total": 3, "tax": 1}'), SCHEMA, drops_others=True) == {"total": 3.0}
    with pytest.raises(UnusableAnswerError, match="tax"):
        read_answer(reply('{"total": 3, "tax": 1}'), SCHEMA)
