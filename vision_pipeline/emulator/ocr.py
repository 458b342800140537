"""The engine `ocr`: reads the text of the images with PP-OCR, and does nothing else."""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from PIL import Image

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.tokens import TokenRule
from vision_pipeline.emulator.grammar import Grammar
from vision_pipeline.emulator.images import ReceivedImage
from vision_pipeline.emulator.problems import invalid_request
from vision_pipeline.emulator.question import Question

_NEEDS = "the ocr engine needs: pip install -c constraints.txt '.[local]'"
_ANSWER_KEYS = frozenset({"text", "lines"})
_LINE_KEYS = frozenset({"text", "box", "score", "image_index"})
_ONLY_TEXT = (
    "The ocr engine only reads text. Ask for plain text, or for a json_schema whose properties are "
    "among text (string) and lines (array of objects with text, box, score, image_index)."
)
# Two readers of one thread each read 1.5 times as many pages a second on two cores as one reader
# of two threads (receipts at 1540 px, 2026-11). Each takes up to 500 MB, so there are no more.
_MOST_READERS = 2
_ERRORS_ONLY = 3  # of onnxruntime's log levels


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; `box` is x0, y0, x1, y1 in px of the image as sent, `score` 0 to 1."""

    text: str
    box: tuple[float, float, float, float]
    score: float
    image_index: int

    @property
    def height_px(self) -> float:
        """How tall the box is."""
        return self.box[3] - self.box[1]

    @property
    def middle_px(self) -> float:
        """Where the middle of the box is, from the top."""
        return (self.box[1] + self.box[3]) / 2


class _Found(Protocol):
    """What rapidocr has found; all None if there is no text."""

    txts: Sequence[str] | None
    scores: Sequence[float]
    boxes: Any  # float array, (lines, 4 corners, x and y)


class _Reader(Protocol):
    def __call__(self, image: Image.Image) -> _Found: ...


class OcrEngine:
    """Reads images in the order of the request, some requests at a time.

    Raises:
        ConfigError: rapidocr or what it runs on is not installed.
    """

    name = "emulator-ocr"

    def __init__(self) -> None:
        try:
            self._rapidocr = importlib.import_module("rapidocr")
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise ConfigError(_NEEDS) from error
        runtime.set_default_logger_severity(_ERRORS_ONLY)
        cores = os.cpu_count() or 1
        self.workers = min(cores, _MOST_READERS)
        self._threads_each = cores // self.workers
        self._idle: list[_Reader] = [self._new_reader()]

    def answer(self, question: Question) -> str:
        """The text of all images, or the object that the schema asks for.

        Raises:
            RefusalError: 400 if anything else than text is asked for, or an image is damaged.
        """
        _check_form(question)
        lines: list[Line] = []
        for index, image in enumerate(question.images):
            lines.extend(self._read(image, question.rule, index))
        if question.grammar is None:
            return _joined(lines)
        answer = _shaped(lines, question.grammar)
        if not question.grammar.accepts(answer):
            raise invalid_request(_ONLY_TEXT)
        return json.dumps(answer, ensure_ascii=False)

    def _read(self, image: ReceivedImage, rule: TokenRule, index: int) -> list[Line]:
        pixels = image.pixels(rule)
        scale = image.width_px / pixels.width, image.height_px / pixels.height
        with self._borrowed() as reader:
            found = reader(pixels)
        if found.txts is None:
            return []
        rows = zip(found.txts, found.boxes.tolist(), found.scores, strict=True)
        return in_reading_order(
            [Line(text, _bounds(box, scale), round(score, 4), index) for text, box, score in rows]
        )

    @contextmanager
    def _borrowed(self) -> Iterator[_Reader]:
        """A reader for one caller alone, since it keeps state during a call."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._new_reader()
        try:
            yield reader
        finally:
            self._idle.append(reader)

    def _new_reader(self) -> _Reader:
        reader: _Reader = self._rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "EngineConfig.onnxruntime.intra_op_num_threads": self._threads_each,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        reader(Image.new("RGB", (64, 64), "WHITE"))  # its models are loaded at the first use
        return reader


def in_reading_order(lines: list[Line]) -> list[Line]:
    """Lines from top to bottom, those at one height from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.middle_px):
        start = rows[-1][0] if rows else None
        if start and line.middle_px - start.middle_px < min(start.height_px, line.height_px) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _check_form(question: Question) -> None:
    sample = Line(text="text", box=(0.0, 0.0, 1.0, 1.0), score=0.5, image_index=0)
    match question.form:
        case "text":
            return
        case "json_schema" if question.grammar is not None:
            if question.grammar.accepts(_shaped([sample], question.grammar)):
                return
    raise invalid_request(_ONLY_TEXT)


def _shaped(lines: list[Line], grammar: Grammar) -> dict[str, Any]:
    """The answer with exactly the properties of the schema."""
    properties = _properties(grammar.schema, grammar, _ANSWER_KEYS)
    made: dict[str, Any] = {}
    if "text" in properties:
        made["text"] = _joined(lines)
    if "lines" in properties:
        items = _resolved(properties["lines"], grammar).get("items", {})
        keys = _properties(items, grammar, _LINE_KEYS)
        made["lines"] = [{key: _plain(line)[key] for key in keys} for line in lines]
    return made


def _properties(schema: object, grammar: Grammar, allowed: frozenset[str]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = _resolved(schema, grammar).get("properties", {})
    if not properties or not properties.keys() <= allowed:
        raise invalid_request(_ONLY_TEXT)
    return properties


def _resolved(schema: object, grammar: Grammar) -> Mapping[str, Any]:
    if isinstance(schema, Mapping) and "$ref" in schema:
        return _resolved(grammar.resolve(schema["$ref"]), grammar)
    return schema if isinstance(schema, Mapping) else {}


def _plain(line: Line) -> dict[str, Any]:
    return asdict(line) | {"box": list(line.box)}


def _joined(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def _bounds(
    corners: list[list[float]], scale: tuple[float, float]
) -> tuple[float, float, float, float]:
    across = [x * scale[0] for x, _ in corners]
    down = [y * scale[1] for _, y in corners]
    return round(min(across), 1), round(min(down), 1), round(max(across), 1), round(max(down), 1)
