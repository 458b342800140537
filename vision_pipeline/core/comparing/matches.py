"""How well an answer fits the truth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """One answer beside its truth.

    Attributes:
        score: From 0 to 1; for what has parts, F1, the harmonic mean of recall and precision.
        hits: Parts, words or elements, that both have; 0 for what has none.
        wanted: Parts of the truth.
        given: Parts of the answer.
    """

    score: float
    hits: int = 0
    wanted: int = 0
    given: int = 0


RIGHT, WRONG = Match(1.0), Match(0.0)


def of_parts(hits: int, wanted: int, given: int) -> Match:
    """The match of two collections; two empty ones fit."""
    score = 2 * hits / (wanted + given) if wanted + given else 1.0
    return Match(score, hits, wanted, given)
