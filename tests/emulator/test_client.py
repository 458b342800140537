"""The vendor's own Python client against the emulator."""

from __future__ import annotations

import pytest
from mistralai.client import Mistral
from pydantic import BaseModel


class Receipt(BaseModel):
    vendor: str
    total: float
    items: list[str]


@pytest.fixture
def client(api):
    with Mistral(api_key="test", server_url=api.base_url) as client:
        yield client


def user(*chunks):
    return {"role": "user", "content": list(chunks)}


def shown(url):
    return {"type": "image_url", "image_url": url}


@pytest.mark.parametrize("wrap", [lambda url: url, lambda url: {"url": url}])
def test_the_client_sends_an_image_in_both_forms(client, picture, wrap):
    reply = client.chat.complete(
        model="mistral-small-latest",
        messages=[
            user({"type": "text", "text": "What is this"}, shown(wrap(picture["image_url"])))
        ],
    )
    assert reply.usage.prompt_tokens == 910 + 3 + 3
    assert isinstance(reply.choices[0].message.content, str)


def test_the_client_sends_a_system_message_and_two_images(client, picture):
    system = {"role": "system", "content": "Be brief"}
    reply = client.chat.complete(
        model="mistral-large-2512", messages=[system, user(picture, picture)], temperature=0.0
    )
    assert reply.usage.prompt_tokens == 2 * 910 + 2 + 5


def test_the_client_parses_an_answer_into_its_model(client, picture):
    reply = client.chat.parse(
        Receipt, model="mistral-small-2603", messages=[user(picture)], max_tokens=500
    )
    assert isinstance(reply.choices[0].message.parsed, Receipt)


def test_the_client_lists_models(client):
    models = {model.id: model for model in client.models.list().data}
    assert models["mistral-small-2603"].capabilities.vision is True
