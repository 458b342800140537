"""How long the vendor takes to answer, as a draw."""

from __future__ import annotations

from random import Random

# Measured 2026-08: tokens a second while an answer is written.
_WRITING_RATES = {
    "ministral-3b": 109.0,
    "ministral-8b": 91.0,
    "ministral-14b": 51.0,
    "mistral-small": 105.0,
    "mistral-medium": 52.0,
}
_OTHER_RATE = 50.0  # inferred: large models, not faster than the slowest that was measured
REFUSAL_S = 0.3  # measured for a 429; inferred for other errors

# Inferred as a whole, and held against what was measured: prompts of 9k tokens with short answers
# took 0.84 to 2.45 s, 12.6k with 0.3k of answer 3.9 to 8.8 s (ministral-8b).
_START_S = 0.4
_READING_RATE = 6000.0
_SPREAD = 0.4
_TAIL_SHARE = 0.01
_TAIL_FACTOR = 5.0


def vendor_latency_s(
    model_id: str, *, prompt_tokens: int, completion_tokens: int, rng: Random
) -> float:
    """Seconds from request to answer: reading, writing, a lognormal spread and a slow tail."""
    rates = (rate for family, rate in _WRITING_RATES.items() if model_id.startswith(family))
    median_s = (
        _START_S + prompt_tokens / _READING_RATE + completion_tokens / next(rates, _OTHER_RATE)
    )
    factor = rng.lognormvariate(0.0, _SPREAD)
    return median_s * factor * (_TAIL_FACTOR if rng.random() < _TAIL_SHARE else 1.0)
