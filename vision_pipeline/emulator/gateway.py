"""What happens to a connection before and around the API: headers, cut and stalled connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import Any
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_STALL_S = 3600.0
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN


class OpenProtocol(H11Protocol):
    """HTTP/1.1 that lets the application cut its connection: `scope["state"]["transport"]`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport for the requests of this connection."""
        if isinstance(transport, asyncio.Transport):
            super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class GatewayHeaders:
    """Puts the headers of the gateway on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started_s = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["mistral-correlation-id"] = str(uuid4())
                spent_ms = round((time.perf_counter() - started_s) * 1000)
                headers["x-envoy-upstream-service-time"] = str(spent_ms)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestWires:
    """The connection of one request, its body being read."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def reset(self) -> None:
        """Close the connection without an answer: the client sees a reset.

        Raises:
            ConnectionResetError: The server is not `OpenProtocol`, and cannot do it.
        """
        transport: Any = self._request.scope.get("state", {}).get("transport")
        if transport is None:
            raise ConnectionResetError
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        transport.abort()
        await self._left()

    async def stall(self) -> None:
        """Return when the client has left, or close the connection after an hour."""
        try:
            async with asyncio.timeout(_STALL_S):
                await self._left()
        except TimeoutError:
            await self.reset()

    async def _left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
