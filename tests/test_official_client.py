"""Every body that the product sends, held against the vendor's own client."""

import orjson
import pytest
from mistralai.client import models

from vision_pipeline.core.config import ModelConfig
from vision_pipeline.core.prompts import parse_template
from vision_pipeline.core.protocol import BodyFormat, decoding_fields
from vision_pipeline.core.question import Question, repair
from vision_pipeline.core.records import LinkedImage, PreparedImage
from vision_pipeline.core.tokens import DEFAULT_RULE
from vision_pipeline.wiring.library import load_template, prompt_files

IMAGE = PreparedImage("sha", 3, "PNG", 28, 28, "image/png", b"\x89PN", 28, 28)
LINK = LinkedImage("https://example.org/a%20b.jpg?x=1&y=2")
FREE_TEXT = parse_template(
    "---\nversion: 1\ndescription: d\nschema: null\n---\nRead «this».", file="free.md"
)


def body_of(template, images, *, turns=0, **settings):
    model = ModelConfig(**settings)
    question = Question(template, model.name, decoding_fields(model), {}, "mistral", DEFAULT_RULE)
    request = question.ask(template.render({}), images)
    for turn in range(turns):
        request = repair(request, reply_text=f"no {turn}", complaint="not valid JSON")
    schema = template.schema.document if template.schema else None
    return BodyFormat({"model": model.name, **question.decoding}, schema).body(request)


def as_the_client_sends_it(body):
    request = models.ChatCompletionRequest.model_validate_json(body)
    return orjson.loads(request.model_dump_json(by_alias=True, exclude_unset=True))


@pytest.mark.parametrize("name", sorted(prompt_files()))
def test_the_client_reads_the_body_of_every_template_and_sends_the_same(name):
    template = load_template(name)
    body = body_of(template, [IMAGE] * template.min_images)
    assert as_the_client_sends_it(body) == orjson.loads(body)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": None},
        {"top_p": 0.5, "random_seed": 7, "max_tokens": 5},
        {"extra_body": {"reasoning_effort": "high", "prompt_cache_key": "k"}},
    ],
)
def test_the_client_reads_every_setting(settings):
    body = body_of(FREE_TEXT, [IMAGE], **settings)
    assert as_the_client_sends_it(body) == orjson.loads(body)


def test_the_client_reads_linked_images_and_repair_turns():
    body = body_of(load_template("compare"), [LINK, IMAGE], turns=1)
    sent = as_the_client_sends_it(body)
    assert sent == orjson.loads(body)
    assert [message["role"] for message in sent["messages"]][-3:] == ["user", "assistant", "user"]
