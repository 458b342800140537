"""What replies take: tokens and time."""

from __future__ import annotations

from dataclasses import dataclass

from vision_pipeline.core.forecast import NONE, Moments, moments

THIS_QUESTION = "this question"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the replies to some items took.

    Attributes:
        output_tokens: An item's, over all its turns.
        extra_tokens: An item's input beyond what was estimated of its first turn: what the
            estimate of its text missed, and what repair turns repeat.
        latency_s: All of it, from the requests to the replies.
        timed: Of how many items; batch jobs tell of none.
        basis: What they are replies to, in words.
    """

    output_tokens: Moments = NONE
    extra_tokens: Moments = NONE
    latency_s: float = 0.0
    timed: int = 0
    basis: str = ""

    def __add__(self, other: Usage) -> Usage:
        """Of both sets of replies; the basis stays."""
        return Usage(
            self.output_tokens + other.output_tokens,
            self.extra_tokens + other.extra_tokens,
            self.latency_s + other.latency_s,
            self.timed + other.timed,
            self.basis,
        )

    @property
    def replies(self) -> int:
        """To how many items."""
        return self.output_tokens.count

    @property
    def is_telling(self) -> bool:
        """Whether they tell more than bounds of what further ones will take: one has no spread."""
        return self.replies > 1

    @property
    def mean_latency_s(self) -> float:
        """Of an item; 0 where none is known."""
        return self.latency_s / self.timed if self.timed else 0.0


def usage_of(
    *, prompt_tokens: int, completion_tokens: int, estimated_tokens: int, latency_s: float
) -> Usage:
    """What the reply to one item took, of which `estimated_tokens` were foreseen as input."""
    extra = prompt_tokens - estimated_tokens
    timed = int(latency_s > 0)
    return Usage(moments([completion_tokens]), moments([extra]), latency_s, timed)
