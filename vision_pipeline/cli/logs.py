"""Logs for machines and for `grep`: a record a line on stderr, in place of the progress display."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Annotated, Any, Self

import orjson
import typer

from vision_pipeline.core.errors import RunError
from vision_pipeline.core.plain_text import plain
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class LogFormat(StrEnum):
    """How a record looks."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        envvar="VISION_PIPELINE_LOG_FORMAT",
        help="Log runs, shards and failed items to stderr, a record a line, without the display.",
    ),
]


class Log:
    """Writes what the pipeline logs to stderr while it is open.

    Attributes:
        progress: The counters that the run raises.
        stop: Raised when the run is asked to stop.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self.progress = Progress()
        self.stop = Stop()
        self._logger = logging.getLogger("vision_pipeline")
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(_Json() if log_format is LogFormat.JSON else _Text())

    def __enter__(self) -> Self:
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self._handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, RunError):
            self._logger.error("stopped: %s", error, extra={"exit_code": error.exit_code})
        self._logger.removeHandler(self._handler)
        self._logger.level, self._logger.propagate = self._before
        if isinstance(error, RunError):
            sys.exit(error.exit_code)  # the record has said why


class _Json(logging.Formatter):
    """`at`, `level`, `logger` and `message`, and the ids and figures that a record has."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(
            {
                "at": _at(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
                **_figures(record),
            },
            default=str,
        ).decode()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = plain(" ".join(record.getMessage().splitlines()))
        ids = [
            f"{name}={plain(str(value))}"
            for name, value in _figures(record).items()
            if name in {"run_id", "shard", "item_id"} and str(value) not in message
        ]
        return " ".join([_at(record), record.levelname, message, *ids])


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _figures(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
