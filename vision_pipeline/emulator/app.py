"""The routes of the emulator, as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from http import HTTPStatus
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from vision_pipeline.core.models import Catalogue
from vision_pipeline.emulator.answers import ABANDONED, WITHHELD, Answer, as_answer
from vision_pipeline.emulator.batch.routes import BatchEndpoints
from vision_pipeline.emulator.batch.state import BatchState
from vision_pipeline.emulator.captures import Captures, loaded
from vision_pipeline.emulator.completions import Completions
from vision_pipeline.emulator.engines import create_engine
from vision_pipeline.emulator.gateway import GatewayHeaders, RequestWires
from vision_pipeline.emulator.model_list import ModelList
from vision_pipeline.emulator.problems import (
    RefusalError,
    detail_error,
    gateway_error,
    no_route,
)
from vision_pipeline.emulator.question import Engine
from vision_pipeline.emulator.responses import json_response, read_body, response_of
from vision_pipeline.emulator.script import parse_change
from vision_pipeline.emulator.service import Call, ChatService
from vision_pipeline.emulator.settings import EmulatorSettings


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
        clock: Seconds, never going back; for everything that takes or has its time.
        today: What day it is; for retired models.

    Raises:
        ConfigError: What the engine needs is not installed.
    """
    models = ModelList(catalogue, today=today)
    engine = engine or create_engine(settings)
    completions = Completions(settings, models, engine=engine, clock=clock)
    service = ChatService(settings, completions, clock=clock)
    captures = Captures(settings)
    state = BatchState(
        service.conditions,
        captures,
        clock=clock,
        epoch_s=completions.epoch_s,
        seed=settings.seed,
    )
    batch = BatchEndpoints(state, service.conditions, completions)
    emulator = Emulator(models, service, batch, captures, clock=clock)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", emulator.chat, methods=["POST"]),
            Route("/v1/models", emulator.list_models, methods=["GET"]),
            Route("/v1/models/{name:path}", emulator.show_model, methods=["GET"]),
            *batch.routes(),
            Route("/_emulator/stats", emulator.show_stats, methods=["GET"]),
            Route("/_emulator/reset", emulator.reset, methods=["POST"]),
            Route("/_emulator/settings", emulator.change_settings, methods=["POST"]),
            Route("/_emulator/requests", emulator.show_requests, methods=["GET"]),
        ],
        middleware=[Middleware(GatewayHeaders, clock=clock, rng=Random(settings.seed))],
        exception_handlers={HTTPException: _no_such_route, RefusalError: _refused},
    )
    app.state.emulator = emulator
    return app


class Emulator:
    """The endpoints, and what they share."""

    def __init__(
        self,
        models: ModelList,
        service: ChatService,
        batch: BatchEndpoints,
        captures: Captures,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._service = service
        self._batch = batch
        self._captures = captures
        self._clock = clock
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._is_closing = False

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        now_s = self._clock()
        self._service.stats.begin(now_s)
        self._service.conditions.arrive(now_s)
        wires = RequestWires(request)
        call = Call(wires)
        answer = WITHHELD
        try:
            with self._working(), wires.watched():
                answer = await self._answer(request, call)
        except asyncio.CancelledError:
            if self._is_closing:
                answer = as_answer(gateway_error(503, "The emulator is closing"))
            else:
                answer = WITHHELD if call.is_withheld else ABANDONED
                if not wires.is_lost:
                    raise
        except ClientDisconnect:
            answer = ABANDONED
        finally:
            self._service.stats.end(answer.ending, answer.status, self._clock())
        return response_of(answer)

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        self._authorize(request)
        return json_response(self._models.cards())

    async def show_model(self, request: Request) -> Response:
        """`GET /v1/models/{id or alias}`."""
        self._authorize(request)
        return json_response(self._models.card(request.path_params["name"]))

    async def show_stats(self, _: Request) -> Response:
        """`GET /_emulator/stats`; needs no key."""
        return json_response(self._service.stats.as_json() | {"batch": self._batch.stats()})

    async def reset(self, _: Request) -> Response:
        """`POST /_emulator/reset`: everything as after the start; needs no key."""
        self._service.reset()
        self._batch.reset()
        self._captures.clear()
        return json_response({})

    async def change_settings(self, request: Request) -> Response:
        """`POST /_emulator/settings`: other settings at once; needs no key.

        The body is an object with keys of `script.Change`; the answer is what then holds.
        """
        now_s = self._clock()
        conditions = self._service.conditions
        try:
            change = parse_change(loaded(await request.body()))
        except ValueError as error:
            raise detail_error(HTTPStatus.BAD_REQUEST, str(error)) from error
        conditions.keep_up(now_s)
        conditions.change(change, now_s)
        return json_response(conditions.shown())

    async def show_requests(self, _: Request) -> Response:
        """`GET /_emulator/requests`: the latest bodies, their faults and replies, oldest first."""
        if not self._captures.is_on:
            raise no_route()
        return json_response(self._captures.as_json())

    def close(self) -> None:
        """Give up all requests in flight, so that the server can end."""
        self._is_closing = True
        self._batch.close()
        self._service.close()
        for task in filter(None, self._tasks):
            task.cancel()

    async def _answer(self, request: Request, call: Call) -> Answer:
        try:
            self._authorize(request)
            call.raw = await read_body(request)
            self._service.stats.wire_bytes += len(call.raw)
            answer = await self._service.answer(call)
        except RefusalError as error:
            answer = as_answer(error)
        self._captures.add(
            "POST /v1/chat/completions",
            body=call.raw,
            fault=call.fault,
            status=answer.status,
            reply=answer.body,
        )
        return answer

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        own_task = asyncio.current_task()
        self._tasks.add(own_task)
        try:
            yield
        finally:
            self._tasks.discard(own_task)

    def _authorize(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        self._service.conditions.authorize(header, self._clock())


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusalError):
        raise error
    return response_of(as_answer(error))


async def _no_such_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return response_of(as_answer(detail_error(error.status_code, "Method Not Allowed")))
    return response_of(as_answer(no_route()))
