"""What earlier replies took, summed over the rows of all runs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.forecast import Moments
from vision_pipeline.core.usage import THIS_QUESTION, Usage

USAGE_COLUMNS = (
    "question_sha256",
    "prompt",
    "prompt_tokens",
    "completion_tokens",
    "estimated_tokens",
    "latency_s",
)


class UsageSums:
    """Sums over the rows of one question, or of one prompt and model.

    Args:
        question_sha256: The question.
        prompt: Its template's name.
        model: Its model's name, as the recipe has it.
    """

    def __init__(self, question_sha256: str, *, prompt: str, model: str) -> None:
        self._question, self._prompt, self._model = question_sha256, prompt, model
        self._same = Usage(basis=THIS_QUESTION)
        self._kin = Usage(basis="this prompt with other settings")

    def add(self, rows: pa.Table, *, asked: str) -> None:
        """Add the rows of a file.

        Args:
            rows: `USAGE_COLUMNS`.
            asked: The model that the run asked, as its recipe has it.
        """
        replied = pc.and_(pc.is_valid(rows["prompt_tokens"]), pc.is_valid(rows["estimated_tokens"]))
        is_same = pc.equal(pc.cast(rows["question_sha256"], pa.string()), self._question)
        self._same += _usage(rows.filter(pc.and_(replied, is_same)))
        if asked == self._model:
            is_kin = pc.equal(pc.cast(rows["prompt"], pa.string()), self._prompt)
            self._kin += _usage(rows.filter(pc.and_(replied, is_kin)))

    def usage(self) -> Usage:
        """Of the question if there is any, else of its prompt with other settings."""
        return self._same if self._same.replies else self._kin


def _usage(rows: pa.Table) -> Usage:
    output = pc.cast(rows["completion_tokens"], pa.float64())
    extra = pc.cast(pc.subtract(rows["prompt_tokens"], rows["estimated_tokens"]), pa.float64())
    latencies = rows["latency_s"].drop_null()
    seconds = pc.sum(latencies).as_py() or 0.0
    return Usage(_moments(output), _moments(extra), seconds, len(latencies))


def _moments(values: pa.ChunkedArray) -> Moments:
    squares = pc.sum(pc.multiply(values, values)).as_py() or 0.0
    return Moments(len(values), pc.sum(values).as_py() or 0.0, squares)
