"""Faults by rate: one table of what can go wrong, and a draw that a seed repeats exactly."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

import orjson

from vision_pipeline.emulator.problems import (
    RefusalError,
    api_error,
    capacity_exceeded,
    edge_page,
    gateway_text,
    rate_limited,
    unauthorized,
)

_EDGE_UNKNOWN_ERROR = 520  # Cloudflare's "web server is returning an unknown error"
_MOST_BODIES_REMEMBERED = 200_000  # about 30 MB; older bodies start again with attempt 1


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
class Wire:
    """No answer: the connection is cut, or nothing comes until the client gives up."""

    action: Literal["reset", "stall"]


@dataclass(frozen=True, slots=True)
class Spoil:
    """A reply that is paid for and cannot be used as it is."""

    edit: Callable[[str], Reply]


@dataclass(frozen=True, slots=True)
class Garble:
    """Status 200 with a body that is not the JSON that was meant."""

    edit: Callable[[bytes], bytes]


Effect = Refuse | Wire | Spoil | Garble


def _server_error() -> RefusalError:
    return api_error(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Internal server error",
        kind="internal_server_error",
        code="1000",
    )


def _bad_gateway() -> RefusalError:
    message = "An invalid response was received from the upstream server"
    return gateway_text(HTTPStatus.BAD_GATEWAY, message)


def _unknown_edge_error() -> RefusalError:
    return edge_page(_EDGE_UNKNOWN_ERROR, "Web server is returning an unknown error")


def _as_chunks(text: str) -> Reply:
    thought = {"type": "text", "text": "First look at the image, then answer."}
    thinking: dict[str, Any] = {"type": "thinking", "thinking": [thought]}
    return Reply([thinking, {"type": "text", "text": text}])


def _off_schema(text: str) -> Reply:
    # An array where an object was asked for is the violation that was seen on the wire.
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = text
    wrong = [answer] if isinstance(answer, dict) else {"unexpected": answer}
    return Reply(orjson.dumps(wrong).decode())


FAULTS: Mapping[str, Effect] = {
    "http_500": Refuse(_server_error),
    "http_502": Refuse(_bad_gateway),
    "http_520": Refuse(_unknown_edge_error),
    "rate_limited": Refuse(rate_limited),
    "capacity": Refuse(capacity_exceeded),
    "unauthorized": Refuse(unauthorized),
    "reset": Wire("reset"),
    "stall": Wire("stall"),
    "empty_body": Garble(lambda _: b""),
    "cut_body": Garble(lambda body: body[: len(body) // 2]),
    "null_content": Spoil(lambda _: Reply(None)),
    "chunk_list": Spoil(_as_chunks),
    "fenced": Spoil(lambda text: Reply(f"```json\n{text}\n```")),
    "invalid_json": Spoil(lambda text: Reply(f"Here is the answer: {text[:-1]}")),
    "off_schema": Spoil(_off_schema),
    "length": Spoil(lambda text: Reply(text[: len(text) // 2], finish_reason="length")),
}


def parse_fault(text: str) -> tuple[str, float]:
    """A kind and its rate, as a command line gives them: `KIND=RATE`.

    Raises:
        ValueError: Not of that form.
    """
    kind, _, rate = text.partition("=")
    try:
        return kind, float(rate)
    except ValueError:
        raise ValueError(f"--fault {text}: expected KIND=RATE, such as http_500=0.05") from None


def check_rates(rates: Mapping[str, float]) -> None:
    """Check kinds and rates.

    Raises:
        ValueError: A kind is unknown, a rate is outside 0..1, or they add up to more than 1.
    """
    for kind, rate in rates.items():
        if kind not in FAULTS:
            raise ValueError(f"fault {kind!r} is not one of {', '.join(FAULTS)}")
        if not 0 <= rate <= 1:
            raise ValueError(
                f"fault {kind}: rate {rate} is not within 0..1; kinds: {', '.join(FAULTS)}"
            )
    if sum(rates.values()) > 1 + 1e-9:
        raise ValueError(f"fault rates add up to {sum(rates.values())}; at most 1")


def spoiled(reply: Reply, effect: Spoil) -> Reply:
    """The reply as the fault leaves it; a reply cut by `max_tokens` stays one."""
    changed = effect.edit(reply.text)
    return (
        changed
        if changed.finish_reason != "stop"
        else replace(changed, finish_reason=reply.finish_reason)
    )


class FaultDraw:
    """Decides which request meets which fault.

    The same body meets the same fault under the same seed, whatever the order of requests; sent
    again it is drawn anew, so that a retry may pass.
    """

    def __init__(self, rates: Mapping[str, float], *, seed: int) -> None:
        check_rates(rates)
        self._rates = {kind: rates[kind] for kind in FAULTS if rates.get(kind, 0) > 0}
        self._seed = seed
        self._attempts: OrderedDict[bytes, int] = OrderedDict()

    def draw(self, body: bytes) -> str | None:
        """The kind of fault that this request meets, or None."""
        if not self._rates:
            return None
        digest = hashlib.blake2b(body, digest_size=16).digest()
        attempt = self._attempts.pop(digest, 0) + 1
        self._attempts[digest] = attempt
        if len(self._attempts) > _MOST_BODIES_REMEMBERED:
            self._attempts.popitem(last=False)
        return self._pick(random.Random(f"{self._seed}:{digest.hex()}:{attempt}").random())

    def reset(self) -> None:
        """Forget all attempts."""
        self._attempts.clear()

    def _pick(self, point: float) -> str | None:
        for kind, rate in self._rates.items():
            if point < rate:
                return kind
            point -= rate
        return None
