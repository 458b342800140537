"""`python -m vision_pipeline.emulator`: prints its base URL, and serves until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import yaml

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.models import Catalogue, parse_catalogue
from vision_pipeline.emulator.faults import FAULTS, parse_fault
from vision_pipeline.emulator.server import serve
from vision_pipeline.emulator.settings import ENGINE_NAMES, EmulatorSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator in the foreground.

    Returns:
        0 after SIGINT, SIGTERM or the end of stdin; 2 if it cannot start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        catalogue = _catalogue(options.models)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _exit_quietly)
        serve(settings, catalogue, on_ready=_say, stop_on_stdin_eof=options.until_stdin_closes)
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
    add("--engine", choices=ENGINE_NAMES, default="synthetic", help="who answers")
    add("--seed", type=int, default=0, help="decides synthetic answers and faults")
    add("--requests-per-minute", type=int, metavar="N", help="per model; default no limit")
    add("--tokens-per-minute", type=int, metavar="N", help="per model; default no limit")
    add("--latency", type=float, default=0.0, metavar="S", help="least seconds for an answer")
    add("--models", type=Path, metavar="FILE", help="models.yaml; default knows every name")
    add("--capture", action="store_true", help="keep requests for GET /_emulator/requests")
    add("--until-stdin-closes", action="store_true", help="end with the parent process")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="KIND=RATE",
        help=f"share of requests, 0 to 1; repeatable; kinds: {', '.join(FAULTS)}",
    )
    return parser


def _settings(options: argparse.Namespace) -> EmulatorSettings:
    return EmulatorSettings(
        host=options.host,
        port=options.port,
        engine=options.engine,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        latency_s=options.latency,
        faults=dict(parse_fault(text) for text in options.fault),
        seed=options.seed,
        capture=options.capture,
    )


def _catalogue(path: Path | None) -> Catalogue:
    if path is None:
        return Catalogue(())
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--models {path}: {error}") from error
    return parse_catalogue(document or {}, file=str(path))


def _say(base_url: str) -> None:
    sys.stdout.write(f"{base_url}\n")
    sys.stdout.flush()


def _exit_quietly(_number: int, _frame: FrameType | None) -> None:
    # Also met after the server has ended: uvicorn raises the signal that it caught once more.
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
