"""What held a run up, in a line, and what would help."""

from __future__ import annotations

from collections.abc import Mapping

from vision_pipeline.core.activity import Stage

_WORTH_SAYING_S = 1.0

_ADVICE = {
    Stage.REQUEST_LIMIT: (
        "the limit of requests binds: more images in one request (source.group_by), or a larger "
        "plan"
    ),
    Stage.TOKEN_LIMIT: (
        "the limit of tokens binds: a lower image.max_side_px or image.max_image_tokens, or a "
        "larger plan"
    ),
    Stage.PAUSE: (
        "the server asked for pauses: name its limits in limits.requests_per_minute, so that it "
        "does not have to"
    ),
    Stage.OUTAGE: "the server did not answer for a while; nothing here would help",
    Stage.PREPARATION: (
        "reading and preparing images binds: faster storage, more cores, or image.verify: structure"
    ),
    Stage.STORAGE: "writing binds: a faster disk for output.path and output.ledger",
    Stage.CHUNKS: "the pauses between chunks took most of the time, as was wished",
    Stage.BATCH: "the provider's batch jobs took most of the time, as they do",
    Stage.OTHER: "",
}
_SERVER = "the server's answers bind"
_MORE_IN_FLIGHT = f"{_SERVER}: a higher limits.max_in_flight may help"
_SLOW_SERVER = f"{_SERVER}, and more requests at once made it slower"


def advice(seconds: Mapping[Stage, float], *, is_full: bool, has_shrunk: bool) -> str:
    """The one thing that would have shortened a run most; "" for a run too short to tell.

    Args:
        seconds: Where its time went.
        is_full: Whether as many requests were in flight as the configuration allows.
        has_shrunk: Whether fewer are by now than were before, since the server served no more.
    """
    if not seconds:
        return ""
    stage = max(seconds, key=lambda each: seconds[each])
    if seconds[stage] < _WORTH_SAYING_S:
        return ""
    if stage is Stage.ENDPOINT:
        if is_full:
            return _MORE_IN_FLIGHT
        return _SLOW_SERVER if has_shrunk else _SERVER
    return _ADVICE[stage]
