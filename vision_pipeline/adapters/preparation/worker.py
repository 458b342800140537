"""One worker process: `python -m vision_pipeline.adapters.preparation.worker SETTINGS LIMITS`.

It reads tasks from stdin and writes replies to stdout until stdin closes. A task that takes too
long ends the process, by an alarm that also strikes inside a decoder in C; memory is bounded by the
operating system.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, BinaryIO

import orjson
from PIL import Image

from vision_pipeline.adapters.preparation.frames import NO_MEMORY, read_frame, write_frame
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_memory import stated_size
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import check, prepare
from vision_pipeline.core.pdf import count_pages

_OWN_BYTES = 64 * 1024 * 1024  # Python, Pillow and NumPy

_Reply = tuple[dict[str, Any], bytes]


def main() -> None:
    """Serve the process's own stdin and stdout."""
    settings = ImageSettings(**orjson.loads(sys.argv[1]))
    limits = orjson.loads(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run itself says when this ends
    _bound_memory(_OWN_BYTES + limits["max_bytes"])
    # Pillow refuses above twice this number: its limit is then ours, also for pictures inside of
    # pictures, whose size no header tells.
    Image.MAX_IMAGE_PIXELS = max(settings.max_source_pixels // 2, 1)
    # What libraries print must not land between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        write_frame(replies, {})
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        serve(sys.stdin.buffer, replies, settings, alarm=_alarm(limits["max_s"]))
    except BrokenPipeError:
        pass
    except MemoryError:
        os._exit(NO_MEMORY)
    os._exit(0)  # libraries have nothing to tidy up that is worth the time


def serve(
    tasks: BinaryIO,
    replies: BinaryIO,
    settings: ImageSettings,
    *,
    alarm: Callable[[float], None],
) -> None:
    """Answer tasks until there are no more.

    Args:
        tasks: Messages with `do` (`prepare`, `check`, `measure` or `count_pages`) and the encoded
            file.
        replies: Gets one message for each: what was asked for; or `error`, the code of an
            `ItemError`, with its `detail`; or `bug`.
        settings: For every image; a task to `prepare` brings its own `max_sent_bytes`.
        alarm: Called with 1 before a task and with 0 after it: how much of the time it may take.

    Raises:
        MemoryError: A task or a reply does not fit.
    """
    while (task := read_frame(tasks)) is not None:
        head, source = task
        alarm(1)
        try:
            reply, data = _DEEDS[head["do"]](source, settings, head)
        except ItemError as error:
            reply, data = {"error": error.code.value, "detail": error.detail}, b""
        except MemoryError:
            detail = "it takes more memory than image.max_decode_bytes allows; raise it"
            reply, data = {"error": ErrorCode.IMAGE_TOO_LARGE.value, "detail": detail}, b""
        except Exception as error:  # noqa: BLE001  (a bug: the run raises it)
            reply, data = {"bug": f"{type(error).__name__}: {error}"}, b""
        alarm(0)
        write_frame(replies, reply, data)


def _prepare(source: bytes, settings: ImageSettings, head: dict[str, Any]) -> _Reply:
    settings = replace(settings, max_sent_bytes=head["max_sent_bytes"])
    prepared = prepare(source, settings, page=head["page"])
    described = asdict(prepared)
    del described["data"]
    return described, prepared.data


def _check(source: bytes, settings: ImageSettings, _: dict[str, Any]) -> _Reply:
    return {"note": check(source, settings)}, b""


def _measure(source: bytes, settings: ImageSettings, _: dict[str, Any]) -> _Reply:
    return {"size": stated_size(source, settings)}, b""


def _count_pages(source: bytes, _settings: ImageSettings, _head: dict[str, Any]) -> _Reply:
    return {"pages": count_pages(source)}, b""


_DEEDS: dict[str, Callable[[bytes, ImageSettings, dict[str, Any]], _Reply]] = {
    "prepare": _prepare,
    "check": _check,
    "measure": _measure,
    "count_pages": _count_pages,
}


def _alarm(max_s: float) -> Callable[[float], None]:
    """Sets the process's alarm, which nothing handles: it ends the process."""
    set_timer = getattr(signal, "setitimer", None)
    if set_timer is None:  # Windows: there the run's own deadline ends it
        return lambda _: None
    return lambda share: set_timer(signal.ITIMER_REAL, share * max_s)


def _bound_memory(max_bytes: int) -> None:
    """Let allocations beyond `max_bytes` fail, where the system can (Linux 4.7 and later)."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  (not on Windows)

        # Data, not address space: libraries map far more than they use.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, hard))


if __name__ == "__main__":
    main()
