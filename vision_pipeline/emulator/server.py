"""Running the emulator: a real server on a socket, in this process or in a thread of it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from vision_pipeline.core.errors import ConfigError, EndpointError
from vision_pipeline.core.models import Catalogue
from vision_pipeline.emulator.app import Emulator, create_app
from vision_pipeline.emulator.gateway import OpenProtocol
from vision_pipeline.emulator.settings import EmulatorSettings

_BACKLOG = 2048
# Longer than clients keep idle connections, so that none is closed under a request on its way.
_KEEP_ALIVE_S = 120
_GRACE_S = 5
_MOST_NEW_OBJECTS = 50_000
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """An emulator that accepts connections."""

    base_url: str
    app: Starlette


def serve(
    settings: EmulatorSettings,
    catalogue: Catalogue,
    *,
    on_ready: Callable[[str], None],
    stop_on_stdin_eof: bool = False,
) -> None:
    """Run the emulator until SIGINT, SIGTERM or, if asked for, the end of stdin.

    Args:
        settings: How it behaves.
        catalogue: Its models; an empty one knows every name.
        on_ready: Is given the base URL, `http://HOST:PORT`, when connections are accepted.
        stop_on_stdin_eof: Ends with the process that holds the other end of stdin.

    Raises:
        ConfigError: The address cannot be listened on, or the engine is not installed.
    """
    with _listening(settings) as listener:
        server = _Server(create_app(settings, catalogue), listener, on_ready=on_ready)
        if stop_on_stdin_eof:
            threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
        _collect_garbage_seldom()
        server.run(sockets=[listener])


@contextlib.contextmanager
def running(settings: EmulatorSettings, catalogue: Catalogue) -> Iterator[RunningEmulator]:
    """An emulator in a thread of this process, for as long as the block takes.

    Raises:
        ConfigError: The address cannot be listened on, or the engine is not installed.
        EndpointError: It did not come up.
    """
    with _listening(settings) as listener:
        app = create_app(settings, catalogue)
        is_ready = threading.Event()
        server = _Server(app, listener, on_ready=lambda _: is_ready.set())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            if not is_ready.wait(_START_TIMEOUT_S):
                raise EndpointError(f"the emulator did not start within {_START_TIMEOUT_S} s")
            yield RunningEmulator(_base_url(listener), app)
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """Says when it is ready, and ends without waiting for requests in flight."""

    def __init__(
        self, app: Starlette, listener: socket.socket, *, on_ready: Callable[[str], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=OpenProtocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._emulator: Emulator = app.state.emulator
        self._base_url = _base_url(listener)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and say so."""
        await super().startup(sockets)
        self._on_ready(self._base_url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give up the requests in flight and end."""
        self._emulator.close()
        await super().shutdown(sockets)


def _listening(settings: EmulatorSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = f"{settings.host}:{settings.port}"
        raise ConfigError(f"cannot listen on {where}: {reason}; choose another port") from error


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _collect_garbage_seldom() -> None:
    # Bodies of requests are trees of many objects that hold no cycles, and modules stay for ever.
    gc.freeze()
    gc.set_threshold(_MOST_NEW_OBJECTS)


def _stop_at_eof(server: uvicorn.Server) -> None:
    # Not through sys.stdin: its buffer would be locked when the interpreter ends.
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    server.should_exit = True
