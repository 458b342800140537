"""The routes of the emulator, as a Starlette application."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vision_pipeline.core.models import Catalogue
from vision_pipeline.emulator.answers import Answer, as_answer
from vision_pipeline.emulator.engines import create_engine
from vision_pipeline.emulator.gateway import GatewayHeaders, RequestWires
from vision_pipeline.emulator.model_list import ModelList
from vision_pipeline.emulator.problems import (
    RefusalError,
    detail_error,
    gateway_error,
    no_route,
    unauthorized,
)
from vision_pipeline.emulator.question import Engine
from vision_pipeline.emulator.service import ChatService
from vision_pipeline.emulator.settings import EmulatorSettings

MAX_BODY_BYTES = 53_000_000  # four images of 10 MB in base64 passed, five did not (2025-12)
_MOST_CAPTURED = 256


def _today() -> date:
    return datetime.now(UTC).date()


def create_app(
    settings: EmulatorSettings,
    catalogue: Catalogue,
    *,
    engine: Engine | None = None,
    clock: Callable[[], float] = time.monotonic,
    today: Callable[[], date] = _today,
) -> Starlette:
    """The emulator as an ASGI application; `app.state.emulator` is its `Emulator`.

    Args:
        settings: How it behaves; host and port are for the server, not used here.
        catalogue: Its models; an empty one knows every name.
        engine: Who answers; by default the one that the settings name.
        clock: Seconds, never going back; for windows, latency and stats.
        today: What day it is; for retired models.

    Raises:
        ConfigError: What the engine needs is not installed.
    """
    models = ModelList(catalogue, today=today)
    service = ChatService(settings, models, engine=engine or create_engine(settings), clock=clock)
    emulator = Emulator(settings, models, service, clock=clock)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", emulator.chat, methods=["POST"]),
            Route("/v1/models", emulator.list_models, methods=["GET"]),
            Route("/v1/models/{name:path}", emulator.show_model, methods=["GET"]),
            Route("/_emulator/stats", emulator.show_stats, methods=["GET"]),
            Route("/_emulator/reset", emulator.reset, methods=["POST"]),
            Route("/_emulator/requests", emulator.show_requests, methods=["GET"]),
        ],
        middleware=[Middleware(GatewayHeaders)],
        exception_handlers={HTTPException: _no_such_route, RefusalError: _refused},
    )
    app.state.emulator = emulator
    return app


class Emulator:
    """The endpoints, and what they share."""

    def __init__(
        self,
        settings: EmulatorSettings,
        models: ModelList,
        service: ChatService,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._models = models
        self._service = service
        self._clock = clock
        self._working: set[asyncio.Task[Any] | None] = set()
        self._is_closing = False
        self._captured: deque[dict[str, Any]] = deque(maxlen=_MOST_CAPTURED)

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        self._service.stats.begin(self._clock())
        own_task = {asyncio.current_task()}
        self._working |= own_task
        try:
            return _response(await self._answer(request))
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            return _response(
                as_answer(gateway_error(HTTPStatus.SERVICE_UNAVAILABLE, "The emulator is closing"))
            )
        finally:
            self._working -= own_task
            self._service.stats.end(self._clock())

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        self._authorize(request)
        return _json(self._models.cards())

    async def show_model(self, request: Request) -> Response:
        """`GET /v1/models/{id or alias}`."""
        self._authorize(request)
        return _json(self._models.card(request.path_params["name"]))

    async def show_stats(self, _: Request) -> Response:
        """`GET /_emulator/stats`; needs no key."""
        return _json(self._service.stats.as_json())

    async def reset(self, _: Request) -> Response:
        """`POST /_emulator/reset`; needs no key."""
        self._service.reset()
        self._captured.clear()
        return _json({})

    async def show_requests(self, _: Request) -> Response:
        """`GET /_emulator/requests`: the latest bodies and replies, oldest first."""
        if not self._settings.capture:
            raise no_route()
        return _json(list(self._captured))

    def close(self) -> None:
        """Give up all requests in flight, so that the server can end."""
        self._is_closing = True
        self._service.close()
        for task in filter(None, self._working):
            task.cancel()

    async def _answer(self, request: Request) -> Answer:
        raw = b""
        try:
            self._authorize(request)
            raw = await _read_body(request)
            self._service.stats.wire_bytes += len(raw)
            answer = await self._service.answer(raw, RequestWires(request))
        except RefusalError as error:
            self._service.stats.refused += 1
            answer = as_answer(error)
        self._service.stats.served += answer.status == HTTPStatus.OK
        if self._settings.capture:
            self._captured.append(_capture(raw, answer))
        return answer

    def _authorize(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        wanted = self._settings.api_key
        if scheme.lower() != "bearer" or not key.strip() or key.strip() != (wanted or key.strip()):
            raise unauthorized()


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise gateway_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request size limit exceeded")
        parts.append(part)
    return b"".join(parts)


def _capture(raw: bytes, answer: Answer) -> dict[str, Any]:
    return {
        "body": _loaded(raw),
        "status": answer.status or None,
        "reply": None if answer.body is None else _loaded(answer.body),
    }


def _loaded(raw: bytes) -> object:
    try:
        loaded: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
    return loaded


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return _NoResponse()
    return Response(
        answer.body,
        status_code=answer.status,
        headers=answer.headers,
        media_type=answer.media_type,
    )


class _NoResponse(Response):
    """Sends nothing: the connection is gone."""

    async def __call__(self, *_: object) -> None:
        """Do nothing."""


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusalError):
        raise error
    return _response(as_answer(error))


async def _no_such_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _response(as_answer(detail_error(error.status_code, "Method Not Allowed")))
    return _response(as_answer(no_route()))
