"""Requests read and answers given: what lies between endpoints and Starlette."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vision_pipeline.emulator.answers import Answer
from vision_pipeline.emulator.problems import too_large

MAX_BODY_BYTES = 53_000_000  # four images of 10 MB in base64 passed, five did not (2025-12)


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        RefusalError: 413; it is larger than the gateway lets through.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise too_large()
        parts.append(part)
    return b"".join(parts)


def response_of(answer: Answer) -> Response:
    """The answer as Starlette sends it; or nothing, if there is none."""
    if answer.status is None:
        return _NoResponse()
    return Response(
        answer.body,
        status_code=answer.status,
        headers=answer.headers,
        media_type=answer.media_type,
    )


def json_response(content: object) -> Response:
    """200 with a JSON body."""
    return Response(orjson.dumps(content), media_type="application/json")


class _NoResponse(Response):
    """Sends nothing: the connection is gone."""

    async def __call__(self, *_: object) -> None:
        """Do nothing."""
