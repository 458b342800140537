"""The wire: what a request looks like, and what is read off a reply."""

import json
from base64 import b64decode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_pipeline.core.config import ModelConfig
from vision_pipeline.core.protocol import (
    BodyFormat,
    BrokenReplyError,
    decoding_fields,
    excerpt,
    read_reply,
)
from vision_pipeline.core.question import complaint_text
from vision_pipeline.core.records import LinkedImage, PreparedImage, Turn, VisionRequest

FIELDS = {"model": "mistral-small-2603", "max_tokens": 10}
FORMAT = BodyFormat(fields=FIELDS, schema=None)


def prepared(data, media_type="image/jpeg"):
    return PreparedImage("ab", len(data), "JPEG", 2, 1, media_type, data, 2, 1)


def request(text="Read it.", *, system=None, images=(), turns=()):
    return VisionRequest(
        idempotency_key="5" * 64,
        system=system,
        text=text,
        images=tuple(images),
        estimated_tokens=5,
        turns=tuple(turns),
    )


def messages(body):
    return orjson.loads(body)["messages"]


def readable(text):
    return text.encode("utf-8", "replace").decode()


any_text = st.text() | st.text('a"\ud800\udfff')


def test_a_body_holds_the_fields_as_they_are_and_the_messages():
    assert orjson.loads(FORMAT.body(request())) == FIELDS | {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Read it."}]}]
    }


def test_a_schema_goes_out_strict():
    schema = {"type": "object", "properties": {}}
    body = orjson.loads(BodyFormat(fields=FIELDS, schema=schema).body(request()))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }


def test_text_stands_before_images_for_the_prompt_cache():
    [message] = messages(FORMAT.body(request(images=[prepared(b"a"), LinkedImage("https://x/y")])))
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "image_url"]


def test_a_linked_image_goes_out_as_its_address():
    url = 'https://example.com/"a" \\ é.jpg?x=1'
    [message] = messages(FORMAT.body(request(images=[LinkedImage(url)])))
    assert message["content"][1] == {"type": "image_url", "image_url": {"url": url}}


def test_a_repair_repeats_the_exchange_in_order():
    turns = [Turn("[]", "not an object"), Turn("", "the answer is empty")]
    body = FORMAT.body(request(system="You read.", images=[prepared(b"a")], turns=turns))
    assert [
        (message["role"], message["content"] if message["role"] != "user" else None)
        for message in messages(body)
    ] == [
        ("system", "You read."),
        ("user", None),
        ("assistant", "[]"),
        ("user", None),  # an assistant's turn without content is refused, hence left out
        ("user", None),
    ]
    assert messages(body)[-1]["content"] == complaint_text("the answer is empty")


images = st.lists(
    st.builds(
        prepared,
        st.binary(max_size=60),
        st.sampled_from(["image/jpeg", "image/png", "image/webp", "image/gif"]),
    ),
    max_size=4,
)


@settings(max_examples=60)
@given(any_text, any_text, any_text, images)
def test_a_body_read_back_is_what_was_asked(system, text, said, pictures):
    turns = [Turn(said + ".", said)]
    body = FORMAT.body(request(text, system=system + ".", images=pictures, turns=turns))
    head, question, answer, complaint = messages(body)
    words, *sent = question["content"]
    assert head["content"] == readable(system) + "."
    assert words == {"type": "text", "text": readable(text)}
    assert answer == {"role": "assistant", "content": readable(said) + "."}
    assert complaint["content"] == complaint_text(readable(said))
    urls = [part["image_url"]["url"].split(";base64,") for part in sent]
    assert [(kind, b64decode(data, validate=True)) for kind, data in urls] == [
        (f"data:{picture.media_type}", picture.data) for picture in pictures
    ]


@given(any_text)
def test_any_address_goes_out(url):
    [message] = messages(FORMAT.body(request(images=[LinkedImage(url)])))
    assert message["content"][1]["image_url"]["url"] == readable(url)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (ModelConfig(), {"temperature": 0.0, "max_tokens": 1000}),
        (ModelConfig(temperature=None, max_tokens=5), {"max_tokens": 5}),
        (
            ModelConfig(top_p=0.5, random_seed=0),
            {"temperature": 0.0, "top_p": 0.5, "max_tokens": 1000, "random_seed": 0},
        ),
        (
            ModelConfig(provider="openai", base_url="http://localhost/v1", random_seed=7),
            {"temperature": 0.0, "max_tokens": 1000, "seed": 7},
        ),
        (
            ModelConfig(extra_body={"min_tokens": 9, "reasoning_effort": "high"}),
            {"temperature": 0.0, "max_tokens": 1000, "min_tokens": 9, "reasoning_effort": "high"},
        ),
    ],
)
def test_decoding_goes_out_under_the_servers_names_and_what_is_unset_stays_out(model, fields):
    assert decoding_fields(model) == fields


def completion(*, content="A cat.", usage=None, **more):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
    choice["message"]["content"] = content
    return {"id": "ab", "model": "small", "choices": [choice | more], "usage": usage}


def read(**parts):
    return read_reply(orjson.dumps(completion(**parts)))


def test_a_reply_is_read_whole():
    usage = {"prompt_tokens": 917, "completion_tokens": 42, "total_tokens": 959}
    reply = read(usage=usage)
    assert (reply.text, reply.finish_reason, reply.model) == ("A cat.", "stop", "small")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (917, 42, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", ""),
        (None, None),
        (7, None),
        ({"text": "a"}, None),
        ([], ""),
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}], "A cat."),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "A cat."},
            ],
            "A cat.",
        ),
        ([{"type": "text", "text": None}, {"type": "text"}, "stray", {"text": "no type"}], ""),
    ],
)
def test_content_is_text_nothing_or_chunks_whose_text_counts(content, text):
    assert read(content=content).text == text


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (0, 0, 0)),
        ("many", (0, 0, 0)),
        ({}, (0, 0, 0)),
        ({"prompt_tokens": None, "completion_tokens": "12"}, (0, 0, 0)),
        ({"prompt_tokens": -1, "completion_tokens": 12.0}, (0, 12, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 0, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}, (9, 0, 0)),
        ({"prompt_tokens": 9, "num_cached_tokens": 8}, (9, 0, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {}, "num_cached_tokens": 8}, (9, 0, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, (9, 0, 0)),
        ({"prompt_tokens": 9, "prompt_token_details": None, "request_count": 1}, (9, 0, 0)),
    ],
)
def test_usage_is_read_as_far_as_it_is_there(usage, counts):
    reply = read(usage=usage)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == counts


def test_a_reply_may_omit_model_usage_and_reason():
    reply = read_reply(b'{"choices":[{"message":{"content":"A cat."}}]}')
    assert (reply.text, reply.finish_reason, reply.model) == ("A cat.", None, "")


@pytest.mark.parametrize("reason", [None, 7, {"type": "stop"}])
def test_a_reason_to_finish_is_a_word_or_nothing(reason):
    assert read(finish_reason=reason).finish_reason is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":{}}',
        b'{"choices":["text"]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[{"message":"text"}]}',
        b'{"choices":[{"message":[]}]}',
        b'{"choices":[{"message":{"content":"cut',
        b"<html>bad gateway</html>",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_completion_is_a_broken_reply(body):
    with pytest.raises(BrokenReplyError, match="no chat completion"):
        read_reply(body)


words = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
trees = st.recursive(words, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@settings(max_examples=60)
@given(trees, trees, trees)
def test_no_content_or_usage_breaks_a_reply(content, usage, reason):
    body = json.dumps(completion(content=content, usage=usage, finish_reason=reason))
    reply = read_reply(body.encode())
    assert reply.text is None or isinstance(reply.text, str)
    assert min(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) >= 0


def test_an_excerpt_is_one_short_line():
    assert excerpt(b"bad\n\n  gateway\xff") == "bad gateway\ufffd"
    assert excerpt(b"x" * 400) == "x" * 300 + "…"
    assert excerpt(b"abc", max_chars=2) == "ab…"


def test_a_declined_answer_reads_as_filtered():
    message = {"content": None, "refusal": "I cannot help with that."}
    body = orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    reply = read_reply(body)
    assert reply.finish_reason == "content_filter"
    assert reply.text == "I cannot help with that."


def test_half_a_surrogate_pair_in_a_reply_is_no_broken_reply():
    body = (
        b'{"choices":[{"message":{"content":"cut \\ud83d off"},"finish_reason":"\\ud83d"}],'
        b'"model":"\\ud83d"}'
    )
    assert read_reply(body).text == "cut ? off"
