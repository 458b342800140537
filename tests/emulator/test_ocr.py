"""The engine that reads, on pictures drawn here."""

from __future__ import annotations

import io
import json
from random import Random

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel

from vision_pipeline.emulator.app import create_app
from vision_pipeline.emulator.ocr import Line, OcrEngine, in_reading_order
from vision_pipeline.emulator.settings import EmulatorSettings

WORDS = ("TOTAL 42.50", "Thank you")


class ReadLine(BaseModel):
    text: str
    box: list[float]
    score: float


class Reading(BaseModel):
    text: str
    lines: list[ReadLine]


def drawn(*, scale=1, mode="RGB", ground="white"):
    image = Image.new(mode, (600 * scale, 300 * scale), ground)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=40 * scale)
    for number, words in enumerate(WORDS):
        pen.text((60 * scale, (60 + 100 * number) * scale), words, fill="black", font=font)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr")
    return OcrEngine()


@pytest.fixture
def ask(reader, catalogue, data_url):
    app = create_app(EmulatorSettings(), catalogue, engine=reader)

    async def ask(*sources, **fields):
        chunks = [{"image_url": data_url(source)} for source in sources]
        body = {"model": "mistral-small-2603", "messages": [{"role": "user", "content": chunks}]}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://emulator",
            headers={"authorization": "Bearer x"},
            timeout=60,
        ) as client:
            return await client.post("/v1/chat/completions", json=body | fields)

    return ask


def content(reply):
    return reply.json()["choices"][0]["message"]["content"]


def schema_of(properties):
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    spec = {"name": "x", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": spec}


async def test_the_lines_of_an_image_are_read_in_order(ask):
    reply = await ask(drawn())
    assert reply.json()["model"] == "emulator-ocr/mistral-small-2603"
    assert content(reply).split("\n") == list(WORDS)


async def test_images_are_read_in_order_and_transparent_ground_is_white(ask, image):
    text = schema_of({"text": {"type": "string"}})
    clear = drawn(mode="RGBA", ground=(0, 0, 0, 0))
    answer = json.loads(content(await ask(image(80, 80), clear, response_format=text)))
    assert answer == {"text": "\n".join(WORDS)}


async def test_boxes_are_in_pixels_of_the_image_as_sent(ask):
    spec = {"name": "x", "strict": True, "schema": Reading.model_json_schema()}
    wanted = {"type": "json_schema", "json_schema": spec}
    reading = Reading.model_validate_json(
        content(await ask(drawn(scale=3), response_format=wanted))
    )
    first, second = reading.lines
    assert (first.text, second.text) == WORDS
    assert first.box[0] == pytest.approx(180, abs=25)
    assert second.box[1] - first.box[1] == pytest.approx(300, abs=40)
    assert 0 < first.score <= 1


async def test_an_image_without_text_gives_empty_text(ask, image):
    reply = await ask(image(200, 200))
    assert reply.status_code == 200
    assert content(reply) == ""


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_object"},
        schema_of({"total": {"type": "number"}}),
        schema_of({"text": {"type": "integer"}}),
        schema_of({"lines": {"type": "array", "items": {"type": "object"}}}),
    ],
)
async def test_anything_else_than_text_is_refused(ask, image, wanted):
    reply = await ask(image(50, 50), response_format=wanted)
    assert reply.status_code == 400
    assert "only reads text" in reply.json()["message"]


async def test_a_damaged_image_is_refused(ask):
    reply = await ask(drawn()[:-2000])
    assert reply.status_code == 400
    assert reply.json()["type"] == "invalid_request_file"


def test_lines_at_one_height_are_read_from_left_to_right():
    places = {"a": (0, 0), "b": (200, 4), "c": (0, 50), "d": (200, 46), "e": (400, 52)}
    lines = [Line(name, (x, y, x + 100, y + 30), 1.0, 0) for name, (x, y) in places.items()]
    Random(0).shuffle(lines)
    assert "".join(line.text for line in in_reading_order(lines)) == "abcde"
