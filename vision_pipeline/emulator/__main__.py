"""`python -m vision_pipeline.emulator`: prints its base URL, and serves until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.models import Catalogue, parse_catalogue
from vision_pipeline.emulator.batch_faults import KINDS
from vision_pipeline.emulator.choices import CHOICES
from vision_pipeline.emulator.options import read_settings, read_yaml
from vision_pipeline.emulator.server import serve
from vision_pipeline.emulator.settings import EmulatorSettings

_BATCH_S = {
    "hour": (3600.0, "what an hour of a batch job takes"),
    "queue": (1.0, "how long a batch job waits"),
    "run": (2.0, "how long it runs, at least"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator in the foreground.

    Returns:
        0 after SIGINT, SIGTERM or the end of stdin; 2 if it cannot start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
        catalogue = _catalogue(options.models)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _exit_quietly)
        serve(settings, catalogue, on_ready=_say, stop_on_stdin_eof=options.until_stdin_closes)
    except ValueError as error:
        parser.error(str(error))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vision_pipeline.emulator", description="The Mistral API on this machine."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="0 for a free one")
    add("--seed", type=int, default=0, help="decides all that is left to chance")
    add("--requests-per-minute", type=int, metavar="N", help="per model; default no limit")
    add("--tokens-per-minute", type=int, metavar="N", help="per model; default no limit")
    add("--burst", dest="burst_s", type=float, default=1.0, metavar="S", help="a bucket's size")
    add("--latency", dest="latency_s", type=float, default=0.0, metavar="S", help="at least")
    for name, (seconds, what) in _BATCH_S.items():
        dest = f"batch_{name}_s"
        add(f"--batch-{name}", dest=dest, type=float, default=seconds, metavar="S", help=what)
    add("--script", type=Path, metavar="FILE", help="YAML list of steps that change settings")
    add("--models", type=Path, metavar="FILE", help="models.yaml; default knows every name")
    add("--capture", action="store_true", help="keep requests for GET /_emulator/requests")
    add("--until-stdin-closes", action="store_true", help="end with the parent process")
    for name, words in CHOICES.items():
        default = "synthetic" if name == "engine" else words[0]
        add(f"--{name.replace('_', '-')}", choices=words, default=default)
    add(
        "--fault",
        action="append",
        default=[],
        metavar="KIND=RATE",
        help=f"share of requests, 0 to 1; repeatable; kinds: {KINDS}",
    )
    return parser


def _settings(options: argparse.Namespace) -> EmulatorSettings:
    not_settings = ("models", "until_stdin_closes")
    return read_settings(
        **{name: value for name, value in vars(options).items() if name not in not_settings}
    )


def _catalogue(path: Path | None) -> Catalogue:
    if path is None:
        return Catalogue(())
    document: Any = read_yaml(path, option="--models")
    return parse_catalogue(document or {}, file=str(path))


def _say(base_url: str) -> None:
    sys.stdout.write(f"{base_url}\n")
    sys.stdout.flush()


def _exit_quietly(_number: int, _frame: FrameType | None) -> None:
    # Also met after the server has ended: uvicorn raises the signal that it caught once more.
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
