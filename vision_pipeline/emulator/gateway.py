"""What happens to a connection before and around the API: headers, cut and stalled connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, cast

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_STALL_S = 3600.0
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN


class Connection:
    """One connection of the server, and the task that answers a request on it."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.is_lost = False
        self._task: asyncio.Task[Any] | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """For as long as the block takes, cancel the current task when the client leaves."""
        own = self._task = asyncio.current_task()
        try:
            yield
        finally:
            if self._task is own:
                self._task = None

    def forget_task(self) -> None:
        """Let the task go on when the client leaves."""
        self._task = None

    def lose(self) -> None:
        """The client has left."""
        self.is_lost = True
        if self._task is not None:
            self._task.cancel()


class OneWrite:
    """A transport that sends what is written in one step of the loop as one piece.

    The protocol writes the head and the body of an answer one by one; a system call is a tenth of
    the time that a small answer takes.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        """Send a piece, together with those that follow at once."""
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(piece)

    def close(self) -> None:
        """Send what is written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (all the rest of a transport)
        return getattr(self._transport, name)


class OpenProtocol(H11Protocol):
    """HTTP/1.1 that shows the application its connection: `scope["state"]["connection"]`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection for its requests."""
        if isinstance(transport, asyncio.Transport):
            super().connection_made(cast("asyncio.Transport", OneWrite(transport, self.loop)))
        self._connection = Connection(transport)
        self.app_state = {**self.app_state, "connection": self._connection}

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the request that nobody waits for."""
        super().connection_lost(exc)
        self._connection.lose()


class GatewayHeaders:
    """Puts the headers of the gateway on every answer.

    Args:
        app: What answers.
        clock: Seconds, never going back.
        rng: What ids are drawn from.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float], rng: Random) -> None:
        self._app = app
        self._clock = clock
        self._rng = rng

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started_s = self._clock()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                spent_ms = round((self._clock() - started_s) * 1000)
                message["headers"] += [
                    (b"mistral-correlation-id", _uuid(self._rng).encode()),
                    (b"x-envoy-upstream-service-time", b"%d" % spent_ms),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _uuid(rng: Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class RequestWires:
    """The connection of one request, its body being read; there is none within one process."""

    def __init__(self, request: Request) -> None:
        self._request = request
        state: dict[str, Any] = request.scope.get("state", {})
        self._connection: Connection | None = state.get("connection")

    @property
    def is_lost(self) -> bool:
        """Whether the client has left; never known within one process."""
        return self._connection is not None and self._connection.is_lost

    def watched(self) -> contextlib.AbstractContextManager[None]:
        """For as long as the block takes, cancel the current task when the client leaves."""
        return contextlib.nullcontext() if self._connection is None else self._connection.watched()

    async def reset(self) -> None:
        """Close the connection without an answer: the client sees a reset.

        Raises:
            ConnectionResetError: There is no `OpenProtocol` to do it: client and emulator are in
                one process, and this is what the client gets.
        """
        if self._connection is None:
            raise ConnectionResetError
        self._connection.forget_task()
        transport: Any = self._connection.transport
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        transport.abort()
        await self._left()

    async def stall(self) -> None:
        """Return when the client has left, or close the connection after an hour."""
        if self._connection is not None:
            self._connection.forget_task()
        try:
            async with asyncio.timeout(_STALL_S):
                await self._left()
        except TimeoutError:
            await self.reset()

    async def _left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
