"""What a fault does: an error, a cut connection, a spoiled reply, a long wait, a job that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from vision_pipeline.emulator.problems import RefusalError


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says: a string, or null, or chunks as reasoning models give them."""

    content: str | list[dict[str, Any]] | None
    finish_reason: str = "stop"

    @property
    def text(self) -> str:
        """All that was written as the answer, without the thinking."""
        if isinstance(self.content, str):
            return self.content
        return "".join(chunk.get("text", "") for chunk in self.content or ())


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error answer instead of a reply."""

    error: Callable[[], RefusalError]


@dataclass(frozen=True, slots=True)
class Forbid:
    """429 as of a plan whose limits for the model are 0, in the header set of the settings."""


@dataclass(frozen=True, slots=True)
class Wire:
    """No answer: the connection is cut, or nothing comes until the client gives up."""

    action: Literal["reset", "stall"]


@dataclass(frozen=True, slots=True)
class Slow:
    """The reply, after `slow_s`: later than a client waits."""


@dataclass(frozen=True, slots=True)
class Spoil:
    """A reply that is paid for and cannot be used as it is.

    Attributes:
        edit: From the reply and the most tokens that it may have to another.
    """

    edit: Callable[[str, int], Reply]


@dataclass(frozen=True, slots=True)
class Garble:
    """Status 200 with a body that is not the JSON that was meant."""

    edit: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Lose:
    """What was asked for is done, and the connection is cut in place of the answer."""


@dataclass(frozen=True, slots=True)
class Hide:
    """A job that is there and not found for a while."""


@dataclass(frozen=True, slots=True)
class Doom:
    """A job that fails as a whole when its turn comes, or whose turn never comes."""

    fate: Literal["fail", "wait"]


@dataclass(frozen=True, slots=True)
class Resend:
    """A file whose content comes so many times over: 0.5 is its first half."""

    copies: float


Effect = Refuse | Forbid | Wire | Slow | Spoil | Garble | Lose | Hide | Doom | Resend


def spoiled(reply: Reply, effect: Spoil, *, most_tokens: int) -> Reply:
    """The reply as the fault leaves it; a reply cut by `max_tokens` stays one."""
    changed = effect.edit(reply.text, most_tokens)
    return (
        changed
        if changed.finish_reason != "stop"
        else replace(changed, finish_reason=reply.finish_reason)
    )
