"""The rate that a server takes, learned from what it answers and what it refuses."""

from __future__ import annotations

from vision_pipeline.core.chance import FEW, Chance, Doubt, Lowest, Told

_LEAST_MEASURED_S = 2.0  # a shorter time between refusals tells of bursts, not of a rate
_CAREFUL = 0.98  # of a measured rate: what is kept below it is no refusal
_SAME = 0.1  # of a rate: what differs less was measured twice
_CUT = 0.8  # of the rate, where a refusal comes too soon to measure
_LEAST_PER_S, _MOST_PER_S = 0.5, 1e5  # what is less is kept by pauses
_GROWTH, _MOST_GROWTH = 1.02, 1.25
_GROWTH_OF_A_GUESS = 2.0
_PERIOD_S = 5.0  # of growth
_STEADY = 6  # steps of growth before they double: whoever is refused again by then was near

_A_LITTLE = 0.93  # of the rate, after a few single refusals


class LearnedRate:
    """Requests a second, for a server that refuses some and does not say how many it takes.

    Between two refusals a bucket goes from empty to empty, so that what it took in between is
    exactly what flowed into it, each time the same. Where that differs from one refusal to the
    next they come by chance, however few requests there are: the rate is then restored, and their
    share borne.

    Args:
        now_s: The time, on a clock that never runs backwards.

    Attributes:
        per_s: The rate to keep; None as long as no limit shows.
    """

    def __init__(self, *, now_s: float) -> None:
        self.per_s: float | None = None
        self._flow_per_s = 0.0  # what the limit was measured to be
        self._is_sure = False  # whether more was tried than the limit, and was refused
        self._guess_growth = _GROWTH_OF_A_GUESS
        self._good_per_s = 0.0  # what was kept for a period, and not refused
        self._steps = 0
        self._doubt: Doubt | None = Doubt()
        self._chance = Chance()
        self._lowest = Lowest()
        self._since_s = self._grown_s = now_s
        self._taken = self._grown_from = 0

    def sent(self, now_s: float) -> None:
        """Count a request; after a while without refusals the rate grows."""
        self._taken += 1
        self._grown_from += 1
        self._chance.requests += 1
        self._lowest.requests += self._is_lowest
        if now_s - self._grown_s >= _PERIOD_S and self._chance.goes_on():
            sent_per_s = self._grown_from / (now_s - self._grown_s)
            self._grown_s, self._grown_from = now_s, 0
            if self.per_s is not None and sent_per_s > self.per_s / 2:  # else it is not tested
                self._grow(self.per_s)

    def served(self) -> None:
        """Note that a request was not refused."""
        self._chance.served()

    def untaken(self, sent_s: float) -> None:
        """Count a request that was refused after all."""
        if sent_s >= self._since_s:
            self._taken -= 1

    def refused(self, now_s: float, *, in_a_row: bool, is_certain: bool = False) -> bool:
        """Lower the rate after a refusal, of several at once only after the first.

        Args:
            now_s: The time.
            in_a_row: Whether most of the latest requests were refused.
            is_certain: Whether the server says how long to wait, as it does for a limit.

        Returns:
            Whether a limit refused it, and not chance.
        """
        if self._chance.bears(in_a_row=in_a_row):
            return False
        if self._doubt is not None and not (in_a_row or is_certain):
            return self._is_told(self._doubt, now_s)
        self._doubt = None
        measured_s, taken = now_s - self._since_s, self._taken
        self._begin(now_s)
        if self._is_lowest and (share := self._lowest.refused(is_turn=taken > 0)) is not None:
            self._bear(share)
            return False
        self._steps = 0
        if taken <= 0:
            return True  # a row of refusals tells nothing that its first one did not
        if not in_a_row and self._chance.is_found(self.per_s, taken, measured_s):
            self.per_s = self._chance.per_s_before
            self._bear(self._chance.share_found)
            return False
        self._lower(taken, measured_s, in_a_row=in_a_row)
        return True

    def _bear(self, share: float) -> None:
        self._chance.bear(share)
        self._is_sure, self._guess_growth = False, _GROWTH_OF_A_GUESS

    @property
    def _is_lowest(self) -> bool:
        return self.per_s is not None and self.per_s <= _LEAST_PER_S

    def _begin(self, now_s: float) -> None:
        self._since_s = self._grown_s = now_s
        self._taken = self._grown_from = 0

    def _is_told(self, doubt: Doubt, now_s: float) -> bool:
        """Whether single refusals, before any limit was seen, turn out to be the work of one.

        The rate is lowered a little and not at once: a limit just below it then refuses nothing.
        """
        doubt.refused += 1
        if doubt.refused < FEW:
            return False
        measured_s, taken = now_s - self._since_s, max(self._taken, 1)
        self._begin(now_s)
        doubt.refused = 0
        told = doubt.tell(FEW / (FEW + taken))
        if told is Told.LIMIT:
            self._doubt = None
            self._lower(taken, measured_s, in_a_row=True)
        elif told is Told.CHANCE:
            self.per_s = None
            self._bear(doubt.share)
            self._doubt = Doubt()
        else:
            self._set(_A_LITTLE * taken / max(measured_s, 1.0))
        return told is Told.LIMIT

    def _lower(self, taken: int, measured_s: float, *, in_a_row: bool) -> None:
        if self.per_s is None:
            # What it took in the first second, more or less: a burst may be among it.
            self._flow_per_s = per_s = taken / max(measured_s, 1.0)
        elif measured_s < _LEAST_MEASURED_S:
            self._flow_per_s = self.per_s
            per_s = _CUT * self.per_s
        else:
            flow_per_s = taken / measured_s
            self._good_per_s *= not in_a_row
            if not self._is_sure and flow_per_s < (1 - _SAME) * self._good_per_s:
                # More than that was taken: no bucket, but a window so short that a pause is lost.
                flow_per_s = self._good_per_s
                self._guess_growth = max(_GROWTH, (1 + self._guess_growth) / 2)
            else:
                is_same = abs(flow_per_s - self._flow_per_s) < _SAME * self._flow_per_s
                is_tested = in_a_row or (is_same and self.per_s > flow_per_s * (1 + _SAME))
                self._is_sure |= is_tested and measured_s >= _PERIOD_S
            self._flow_per_s = flow_per_s
            per_s = _CAREFUL * flow_per_s
        self._set(per_s)

    def _set(self, per_s: float) -> None:
        self.per_s = max(per_s, _LEAST_PER_S)

    def _grow(self, per_s: float) -> None:
        self._good_per_s = per_s
        growth = self._guess_growth
        if self._is_sure:
            self._steps += 1
            growth = min(_MOST_GROWTH, _GROWTH ** (2 ** min(max(0, self._steps - _STEADY), 8)))
        self.per_s = min(growth * per_s, _MOST_PER_S)
