"""The command `emulator`: the API on this machine."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from vision_pipeline.core.errors import ConfigError

EPILOG = """
Examples:

    vision-pipeline emulator --port 8765 --engine synthetic --latency 0.2

    vision-pipeline emulator --requests-per-minute 60 --fault http_500=0.05 --seed 7

Point a recipe at it: `--set model.provider=emulator --set model.base_url=http://127.0.0.1:8765/v1`
"""


class Engine(StrEnum):
    """Who answers."""

    OCR = "ocr"
    SYNTHETIC = "synthetic"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("emulator", epilog=EPILOG)(_emulator)


def _emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    engine: Annotated[
        Engine,
        typer.Option(
            help="ocr reads text off the images (extra [local]); synthetic makes up answers that "
            "fit the schema. Neither is a vision model."
        ),
    ] = Engine.SYNTHETIC,
    requests_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Per model; 0 refuses everything.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Per model; 0 refuses everything.")
    ] = None,
    latency: Annotated[
        float, typer.Option(metavar="S", min=0, help="Least seconds for an answer.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=RATE", help="Share of requests that meet it; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides made-up answers and faults.")] = 0,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="EMULATOR_API_KEY", help="The only key accepted; any if left out."),
    ] = None,
) -> None:
    """Serve the Mistral API on this machine, until Ctrl-C. Prints its base URL.

    Counters: `GET /_emulator/stats`; `POST /_emulator/reset` clears them.
    """
    from vision_pipeline.emulator.faults import parse_fault
    from vision_pipeline.emulator.server import serve
    from vision_pipeline.emulator.settings import EmulatorSettings
    from vision_pipeline.wiring.library import load_catalogue

    try:
        settings = EmulatorSettings(
            port=port,
            engine=engine.value,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            latency_s=latency,
            faults=dict(parse_fault(text) for text in fault or []),
            seed=seed,
            api_key=api_key,
        )
    except ValueError as error:
        raise ConfigError(f"emulator: {error}") from None
    with suppress(KeyboardInterrupt):  # the way to end it
        serve(settings, load_catalogue(), on_ready=lambda url: print(f"{url}/v1", flush=True))
