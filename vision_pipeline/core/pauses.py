"""What refusals by rate limit ask for: a pause of all, or a wait of one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from vision_pipeline.core.errors import EndpointError, ItemError, RetryableError
from vision_pipeline.core.limits import BACKOFF_CAP_S, CAPACITY_PAUSE_S, UNKNOWN_PAUSE_S

_TELLING = 4
_RECENT = 16  # outcomes that tell a limit that is used up from a refusal now and then
_MOST_REFUSALS = 12  # of one request while others are served: the limit is not what refuses it


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait, in seconds: every request, or the refused one alone."""

    all_s: float = 0.0
    alone_s: float = 0.0


@dataclass(slots=True)
class _Refused:
    """A request that was refused: how often, and how many were served before."""

    served_before: int
    times: int = 0


class Pauses:
    """Follows refusals without a success in between, and those of each request.

    Args:
        patience_s: For how long refusals are borne while nothing is served.
    """

    def __init__(self, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._requests: dict[int, _Refused] = {}
        self._served = self._in_a_row = 0
        self._since_s: float | None = None

    def answered(self, request: int) -> None:
        """Note that a request was served."""
        self._recent.append(False)
        self._served += 1
        self._in_a_row = 0
        self._since_s = None
        self._requests.pop(request, None)

    def begun(self) -> None:
        """Note that all pause: what was before it tells nothing of what comes after."""
        self._recent.clear()

    def refused(self) -> bool:
        """Note a refusal that no window explains; returns whether most were refused of late."""
        self._recent.append(True)
        return len(self._recent) >= _TELLING and 2 * sum(self._recent) > len(self._recent)

    def wait(
        self,
        request: int,
        error: RetryableError,
        now_s: float,
        *,
        is_explained: bool,
        is_limit: bool,
    ) -> Wait:
        """What a refusal asks for.

        The server's own word counts for all. Without one a window that explains the refusal says
        itself when, and a refusal by chance is the one request's.

        Args:
            request: Its number, the same whenever it is tried again.
            error: The refusal.
            now_s: The time.
            is_explained: Whether it tells of a window that is used up.
            is_limit: Whether a limit refused it, and not chance.

        Raises:
            ItemError: The request was refused ever again while others were served.
            EndpointError: Nothing was served for longer than patience, the wait among it.
        """
        refused = self._requests.setdefault(request, _Refused(self._served))
        refused.times += not is_explained
        if refused.times > _MOST_REFUSALS and self._served_meanwhile(refused):
            raise self._given_up(request, refused, error)
        if self._since_s is None:
            self._since_s = now_s
        unnamed_s = CAPACITY_PAUSE_S if error.is_full else UNKNOWN_PAUSE_S
        pause_s = error.retry_after_s or 0.0  # one of 0 would be asked again at once, without end
        if not pause_s and not (is_explained or is_limit):
            self._in_a_row = max(self._in_a_row, refused.times)
            return Wait(alone_s=min(BACKOFF_CAP_S, unnamed_s * 2.0 ** (refused.times - 1)))
        if not pause_s and (self._in_a_row or not is_explained):
            pause_s = min(BACKOFF_CAP_S, unnamed_s * 2.0**self._in_a_row)
        self._in_a_row += 1
        refused_s = now_s - self._since_s
        if refused_s + pause_s > self._patience_s:
            if not refused_s and self._served:
                return Wait(alone_s=BACKOFF_CAP_S)  # others may still be served
            if self._served_meanwhile(refused) or (self._served and refused.times > _MOST_REFUSALS):
                raise self._given_up(request, refused, error)
            raise EndpointError(
                f"refused by the rate limit for {refused_s:.0f} s without a success, next try in "
                f"{pause_s:.0f} s: {error.detail}"
            ) from error
        return Wait(all_s=pause_s)

    def _served_meanwhile(self, refused: _Refused) -> bool:
        """Whether others were served at least as often as that one was refused."""
        return self._served - refused.served_before >= refused.times

    def _given_up(self, request: int, refused: _Refused, error: RetryableError) -> ItemError:
        del self._requests[request]
        detail = f"refused {refused.times} times while others were served: {error.detail}"
        return ItemError(error.code, detail)
