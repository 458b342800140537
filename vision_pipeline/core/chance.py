"""Refusals that come by chance, however few requests there are, told from those of a limit."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum, auto

# Single refusals between which the flow differs by more than so much: it is no limit that refuses.
_SINGLE, _SPREAD = 4, 1.25
_TOLERATED = 0.01  # share of requests refused by chance, whatever was seen before
FEW, _ENOUGH = 3, 20  # refusals, and requests, that tell of a share
_MOST_CHANCE = 0.3  # a larger share is no chance
_CUTS_IN_VAIN = 2
_UNLIKELY = 1e-4  # of refusals one after the other, for so many to be chance
_TURNS = 4
_MOST_AT_LEAST = 0.75  # share, at the lowest rate: a larger one is of a limit that is lower yet
_SPREADS = 2.0  # standard deviations by which a share may be larger than it is
_LEAST_S = 1e-3  # between two refusals, for a flow


class Told(Enum):
    """What refusals before any limit was seen turn out to be."""

    NOTHING = auto()
    LIMIT = auto()
    CHANCE = auto()


class Doubt:
    """Single refusals before any limit was seen, in groups, after each of which the rate falls.

    Attributes:
        refused: Of the group that is being gathered.
        share: Of the requests, that were refused in the first group.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.share = 0.0
        self._groups = 0

    def tell(self, share: float) -> Told:
        """What it is, once another group is complete."""
        self._groups += 1
        if self._groups == 1:
            self.share = share
        if share > _MOST_CHANCE or share < self.share / 2:
            return Told.LIMIT
        return Told.CHANCE if self._groups > _CUTS_IN_VAIN else Told.NOTHING


class Lowest:
    """Refusals while the rate is as low as it gets.

    On the way there a limit would have refused less and less; a window that is used up refuses all,
    for a while. Neither serves and refuses by turns.

    Attributes:
        requests: Sent at that rate.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._refused = self._turns = 0

    def refused(self, *, is_turn: bool) -> float | None:
        """Note a refusal; returns the share of them, once that has to be chance.

        Args:
            is_turn: Whether something was served since the last one.
        """
        self._refused += 1
        self._turns += is_turn
        if self.requests < _ENOUGH:
            return None
        share, turns = self._refused / self.requests, self._turns
        self.requests = self._refused = self._turns = 0
        return share if share <= _MOST_AT_LEAST and turns >= _TURNS else None


class Chance:
    """Refusals that come however few requests there are.

    Attributes:
        per_s_before: The rate before it was lowered in vain.
        share_found: Of the requests, that were refused meanwhile.
        requests: Sent since shares were last looked at.
    """

    def __init__(self) -> None:
        self.per_s_before: float | None = None
        self.share_found = 0.0
        self.requests = 0
        self._refused = self._unserved = 0
        self._share: float | None = None  # that is borne; None while a limit explains all
        self._rates: deque[float | None] = deque(maxlen=_SINGLE + 1)
        self._flows: deque[tuple[float, float]] = deque(maxlen=_SINGLE)
        self._takens: deque[int] = deque(maxlen=_SINGLE)

    def bears(self, *, in_a_row: bool) -> bool:
        """Whether a refusal is one of these; a row that chance does not bring is of a limit."""
        self._unserved += 1
        if in_a_row and (self._share or 0.0) ** self._unserved < _UNLIKELY:
            self._share = None
            self._forget()
        self._refused += self._share is not None
        return self._share is not None

    def served(self) -> None:
        """Note that a request was not refused."""
        self._unserved = 0

    def bear(self, share: float) -> None:
        """Take refusals of that share of the requests for chance."""
        self._share = share
        self._forget()

    def is_found(self, per_s: float | None, taken: int, measured_s: float) -> bool:
        """Whether a single refusal, after so many requests in that time, is by chance."""
        self._rates.append(per_s)
        if per_s is None:
            return False  # what it took so far may be a burst
        # One more or less is no difference: a request may be on its way.
        measured_s = max(measured_s, _LEAST_S)
        self._flows.append(((taken - 1) / measured_s, (taken + 1) / measured_s))
        self._takens.append(taken)
        highest, lowest = max(low for low, _ in self._flows), min(high for _, high in self._flows)
        if len(self._flows) < _SINGLE or highest < _SPREAD * lowest:
            return False
        self.per_s_before = self._rates[0]
        self.share_found = _SINGLE / (_SINGLE + sum(self._takens))
        return True

    def goes_on(self) -> bool:
        """Whether no more are refused than are borne; to be asked now and then."""
        if self._share is None:
            return True
        if self.requests < _ENOUGH:
            return False
        most = max(_TOLERATED, _twice(self._share))
        spread = math.sqrt(most * (1 - most) / self.requests)
        share = self._refused / self.requests
        is_borne = self._refused < FEW or share <= most + _SPREADS * spread
        self._share = self._share + (share - self._share) / 4 if is_borne else None
        self.requests = self._refused = 0
        return is_borne

    def _forget(self) -> None:
        for each in (self._rates, self._flows, self._takens):
            each.clear()
        self.requests = self._refused = 0


def _twice(share: float) -> float:
    """The share of twice the odds: twice a small one, and never all."""
    return 2 * share / (1 + share)
