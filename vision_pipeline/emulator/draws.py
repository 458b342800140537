"""Chance that a seed repeats exactly: each request has its own, whatever the order of requests."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vision_pipeline.emulator.batch_faults import FAULTS_OF, KINDS, Target
from vision_pipeline.emulator.effects import Effect

_MOST_BODIES_REMEMBERED = 200_000  # about 30 MB; older bodies start again with attempt 1


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is met: its kind and what it does."""

    kind: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Draw:
    """The chance of one request."""

    seed: str

    def fault(self, rates: Mapping[str, float], kinds: Iterable[str]) -> str | None:
        """Which of the kinds that such a request can meet it does meet; or None."""
        point = random.Random(self.seed).random()
        for kind in kinds:  # not in the order of the rates: two spellings of one mapping are equal
            rate = rates.get(kind, 0.0)
            if point < rate:
                return kind
            point -= rate
        return None

    def latency(self) -> random.Random:
        """What the latency is drawn from; tells nothing about the fault."""
        return random.Random(f"{self.seed}:latency")


class Draws:
    """The chances of all requests.

    The same body has the same under the same seed; sent again it is drawn anew, so that a retry
    may pass.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._attempts: OrderedDict[bytes, int] = OrderedDict()

    def of(self, body: bytes) -> Draw:
        """The chance of this request; counts it as one more attempt of its body."""
        digest = hashlib.blake2b(body, digest_size=16).digest()
        attempt = self._attempts.pop(digest, 0) + 1
        self._attempts[digest] = attempt
        if len(self._attempts) > _MOST_BODIES_REMEMBERED:
            self._attempts.popitem(last=False)
        return Draw(f"{self._seed}:{digest.hex()}:{attempt}")

    def reset(self) -> None:
        """Forget all attempts."""
        self._attempts.clear()


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
        ValueError: A kind is unknown, a rate is outside 0..1, or those of one target add up to
            more than 1.
    """
    known = {kind for kinds in FAULTS_OF.values() for kind in kinds}
    for kind, rate in rates.items():
        if kind not in known:
            raise ValueError(f"fault {kind!r} is not one of {KINDS}")
        if not 0 <= rate <= 1:
            raise ValueError(f"fault {kind}: rate {rate} is not within 0..1; kinds: {KINDS}")
    for target, kinds in FAULTS_OF.items():
        together = sum(rate for kind, rate in rates.items() if kind in kinds)
        if together > 1 + 1e-9:
            raise ValueError(f"fault rates of a {target} add up to {together}; at most 1")


class Chance:
    """Which faults the things of one emulator meet, at rates that change while it runs.

    Args:
        seed: Decides.
        met: Counts the kinds that were met.
    """

    def __init__(self, *, seed: int, met: Counter[str]) -> None:
        self._draws = Draws(seed=seed)
        self._met = met

    def of(self, target: Target, identity: bytes, rates: Mapping[str, float]) -> Fault | None:
        """The fault of one target; the same identity once more is drawn anew."""
        kinds = FAULTS_OF[target]
        if rates.keys().isdisjoint(kinds):
            return None
        kind = self._draws.of(f"{target}:".encode() + identity).fault(rates, kinds)
        if kind is None:
            return None
        self._met[kind] += 1
        return Fault(kind, kinds[kind])
