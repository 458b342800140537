"""A provider's sliding window as its client can know it: its own log, and what answers tell.

The provider counts what came within the last 60 s, admits a request while anything is left, and
names limit and remainder in its answers (measured on Mistral's API, 2026-08: bursts are allowed,
tokens are debited after completion by what they really were). A client that mirrors the window
sends a burst for free while it is empty, and the moment that something falls out of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import chain

WINDOW_S = 60.0
GAP_S = 1.0  # for how long answers must tell of less than was sent, before that is believed
_WIDER_S, _MOST_MARGIN_S = 0.25, 2.0
_TOGETHER_S = 0.05  # entries that are sure are one where they are from the same part of a second
_PIECES = 6  # into which the use by others is cut, whose times nobody knows


@dataclass(slots=True)
class Entry:
    """Something that was counted.

    Attributes:
        at_s: When.
        amount: Requests or tokens.
        is_sure: Whether an answer has shown that the provider counted it.
    """

    at_s: float
    amount: float
    is_sure: bool = True


class SlidingWindow:
    """What was used within the last 60 s, by this client and by others of the same quota.

    Times are seconds of one clock that never runs backwards; amounts are requests or tokens.

    Args:
        margin_s: How much longer than 60 s an entry counts here, since it reaches the provider
            later than it was sent, and not each one as much later.
        share: The most that this client may use of it, or None for all.

    Attributes:
        limit: What the provider allows in any 60 s; None until it tells.
    """

    def __init__(self, *, margin_s: float = 0.0, share: float | None = None) -> None:
        self.limit: float | None = None
        self._share = math.inf if share is None else share
        self._kept_s = WINDOW_S + margin_s
        # A server of one's own takes a thousand requests a second: only the latest are held singly.
        self._past: deque[Entry] = deque()
        self._log: deque[Entry] = deque()
        self._others: deque[Entry] = deque()
        self._mine = self._unsure = self._reserved = self._theirs = 0.0
        self._gap: tuple[float, float] | None = None

    def used(self, now_s: float) -> float:
        """What counts at this moment, with what is set aside."""
        self._forget(now_s)
        return self._mine + self._reserved + self._theirs

    def wait_s(self, now_s: float) -> float:
        """Seconds until the provider admits another request.

        Returns:
            0 for now; inf where time alone never frees enough, and only requests in flight may.
        """
        self._forget(now_s)
        mine, theirs = self._mine + self._reserved, self._theirs
        if self._admits(mine, theirs):
            return 0.0
        for at_s, amount, is_mine in self._ends():
            if is_mine:
                mine -= amount
            else:
                theirs -= amount
            if self._admits(mine, theirs):
                return max(0.0, at_s + self._kept_s - now_s)
        return math.inf

    @property
    def frees_at_s(self) -> float | None:
        """When the oldest entry falls out; None where there is none."""
        first = [log[0].at_s for log in (self._past, self._log, self._others) if log]
        return min(first) + self._kept_s if first else None

    def enter(self, amount: float, now_s: float) -> Entry:
        """Count something that is being sent, and that the provider counts on arrival."""
        entry = Entry(now_s, amount, is_sure=False)
        self._log.append(entry)
        self._mine += amount
        self._unsure += amount
        return entry

    def confirm(self, entry: Entry) -> None:
        """Note that an answer came: the provider has counted the entry."""
        if not entry.is_sure:
            entry.is_sure = True
            self._unsure -= entry.amount

    def withdraw(self, entry: Entry) -> None:
        """Take back an entry that the provider has not counted; none that was confirmed."""
        self.confirm(entry)
        self._mine -= entry.amount
        entry.amount = 0.0

    def reserve(self, amount: float) -> None:
        """Set something aside that the provider counts when the answer is complete."""
        self._reserved += amount

    def settle(self, reserved: float, amount: float, now_s: float) -> None:
        """Replace what was set aside by what the provider has counted, 0 for nothing."""
        self._reserved -= reserved
        if amount:
            self._log.append(Entry(now_s, amount))
            self._mine += amount

    def told(self, remaining: float, now_s: float) -> None:
        """Take over what an answer says is left.

        What is missing beyond the own use is use by others; what is left beyond it is a window
        that was emptied or counts otherwise. In between is what may just be on its way.
        """
        if self.limit is None:
            return
        self._forget(now_s)
        most = self.limit - remaining - (self._mine - self._unsure)
        least = most - self._unsure - self._reserved
        if self._theirs < least:
            self._add_theirs(least - self._theirs, now_s)
        elif self._theirs > max(most, 0.0):
            self._drop_theirs(self._theirs - max(most, 0.0))
        self._compare(-most, now_s)

    def widen(self) -> None:
        """Let entries count longer, after a refusal while there was room here.

        Requests reach the provider less evenly than it was thought.
        """
        self._kept_s = min(self._kept_s + _WIDER_S, WINDOW_S + _MOST_MARGIN_S)

    def _admits(self, mine: float, theirs: float) -> bool:
        limit = self.limit or math.inf  # a limit of 0 is for the provider to say
        return mine < self._share and mine + theirs < limit

    def _ends(self) -> Iterator[tuple[float, float, bool]]:
        return merge(
            ((each.at_s, each.amount, True) for each in chain(self._past, self._log)),
            ((each.at_s, each.amount, False) for each in self._others),
        )

    def _forget(self, now_s: float) -> None:
        while self._log and self._log[0].is_sure:
            self._join(self._log.popleft())
        while self._past and self._past[0].at_s + self._kept_s <= now_s:
            self._mine -= self._past.popleft().amount
        while self._log and self._log[0].at_s + self._kept_s <= now_s:
            entry = self._log.popleft()
            self.withdraw(entry)
        while self._others and self._others[0].at_s + self._kept_s <= now_s:
            self._theirs -= self._others.popleft().amount
        if not self._others:
            self._theirs = 0.0

    def _join(self, entry: Entry) -> None:
        last = self._past[-1] if self._past else None
        if last is None or last.at_s // _TOGETHER_S != entry.at_s // _TOGETHER_S:
            self._past.append(entry)
        else:  # it counts until the later one falls out
            last.at_s = entry.at_s
            last.amount += entry.amount

    def _add_theirs(self, amount: float, now_s: float) -> None:
        # Spread evenly over the window: some of it was used long ago.
        times = [now_s - WINDOW_S * piece / _PIECES for piece in range(_PIECES)]
        pieces = [Entry(at_s, amount / _PIECES) for at_s in times]
        self._others = deque(sorted([*self._others, *pieces], key=lambda each: each.at_s))
        self._theirs += amount

    def _drop_theirs(self, amount: float) -> None:
        while self._others and amount > 0:
            dropped = min(amount, self._others[0].amount)
            self._others[0].amount -= dropped
            self._theirs -= dropped
            amount -= dropped
            if self._others[0].amount <= 0:
                self._others.popleft()

    def _compare(self, gap: float, now_s: float) -> None:
        """Believe that the window holds less than was sent once all answers of a while say so."""
        if gap <= 0:
            self._gap = None
            return
        since_s, least = self._gap or (now_s, gap)
        least = min(least, gap)
        self._gap = (since_s, least)
        if now_s - since_s < GAP_S:
            return
        self._gap = None
        for entry in chain(self._past, self._log):
            if least <= 0:
                break
            if entry.is_sure:
                dropped = min(least, entry.amount)
                entry.amount -= dropped
                self._mine -= dropped
                least -= dropped
