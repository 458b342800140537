"""The engine `synthetic`: answers that fit the schema and mean nothing.

The same images, texts and seed give the same answer, on every machine.
"""

from __future__ import annotations

import hashlib
import json
from random import Random

from vision_pipeline.emulator import scalars
from vision_pipeline.emulator.question import Question
from vision_pipeline.emulator.sampler import sample


class SyntheticEngine:
    """Makes answers up, in well under a millisecond."""

    name = "emulator-synthetic"
    workers = 0

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def answer(self, question: Question) -> str:
        """A sentence, or JSON that the grammar accepts.

        Raises:
            GrammarError: No answer fits the schema.
        """
        rng = Random(self._digest(question))
        if question.grammar is not None:
            return json.dumps(sample(question.grammar, rng), ensure_ascii=False)
        sentence = scalars.sentence(rng)
        return json.dumps({"answer": sentence}) if question.form == "json_object" else sentence

    def _digest(self, question: Question) -> bytes:
        digest = hashlib.sha256(f"{self._seed}".encode())
        for part in (*(image.source for image in question.images), *_encoded(question)):
            # The length in front keeps two texts apart from one text that joins them.
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.digest()


def _encoded(question: Question) -> list[bytes]:
    return [text.encode() for text in question.texts]
