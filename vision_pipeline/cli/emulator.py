"""The command `emulator`: the API on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.emulator.batch_faults import KINDS
from vision_pipeline.emulator.choices import (
    EngineName,
    LatencyModel,
    LimitKind,
    RateHeaderSet,
    RetryAfter,
)
from vision_pipeline.wiring.signals import Interrupted

EPILOG = """
Examples:

    vision-pipeline emulator --port 8765 --engine synthetic --latency 0.2

    vision-pipeline emulator --requests-per-minute 60 --fault http_500=0.05 --seed 7

    vision-pipeline emulator --batch-hour 10 --batch-queue 60 --fault line_http_500=0.1

    vision-pipeline emulator --tokens-per-minute 50000 --latency-model vendor --script outage.yaml

A script is a YAML list of steps; what a step says holds until a later one says otherwise. Moments
are `after_s` (seconds after the first request) or `after_requests` (requests received before those
that meet the step); chat requests, uploads and new batch jobs count. The other keys are `faults`,
`requests_per_minute`, `tokens_per_minute`, `latency_s`, `batch_queue_s`, `batch_run_s` and
`api_key`. An outage of 90 seconds:

    - {after_s: 30, faults: {http_503: 1.0}}

    - {after_s: 120, faults: {}}

Kinds of fault: {kinds}.

Point a recipe at it: `--set model.provider=emulator --set model.base_url=http://127.0.0.1:8765/v1`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("emulator", epilog=EPILOG.replace("{kinds}", KINDS))(_emulator)


def _emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="ocr reads text off the images (extra [local]); synthetic makes up answers that "
            "fit the schema. Neither is a vision model."
        ),
    ] = "synthetic",
    requests_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Per model; 0 refuses everything.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Per model; 0 refuses everything.")
    ] = None,
    limit_kind: Annotated[
        LimitKind,
        typer.Option(
            help="How limits are kept: in a window that slides over a minute, in one over a second "
            "with a sixtieth of them, or in a bucket that refills continuously."
        ),
    ] = "window",
    burst: Annotated[
        float, typer.Option(metavar="S", min=0, help="Seconds' worth of limit in a full bucket.")
    ] = 1.0,
    rate_headers: Annotated[
        RateHeaderSet, typer.Option(help="Which headers tell about the limits.")
    ] = "mistral",
    retry_after: Annotated[
        RetryAfter, typer.Option(help="How a refusal by the limits tells when to come back.")
    ] = "none",
    latency: Annotated[
        float, typer.Option(metavar="S", min=0, help="Least seconds for an answer.")
    ] = 0.0,
    latency_model: Annotated[
        LatencyModel, typer.Option(help="vendor takes as long as Mistral, by tokens and chance.")
    ] = "constant",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=RATE", help="Share of requests that meet it; may be repeated."),
    ] = None,
    batch_hour: Annotated[
        float,
        typer.Option(metavar="S", min=0, help="Seconds that an hour of a batch job takes here."),
    ] = 3600.0,
    batch_queue: Annotated[
        float, typer.Option(metavar="S", min=0, help="How long a batch job waits in the queue.")
    ] = 1.0,
    batch_run: Annotated[
        float, typer.Option(metavar="S", min=0, help="How long it runs, at least.")
    ] = 2.0,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML list of steps; see below.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides made-up answers, latencies and faults.")] = 0,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="EMULATOR_API_KEY", help="The only key accepted; any if left out."),
    ] = None,
) -> None:
    """Serve the Mistral API on this machine, until Ctrl-C. Prints its base URL.

    Counters: `GET /_emulator/stats`; `POST /_emulator/reset` begins anew, as after the start.
    `POST /_emulator/settings` with a JSON object of a step's keys, without a moment, changes them
    at once: `{"requests_per_minute": 30, "faults": {}}`.
    """
    from vision_pipeline.emulator.options import read_settings
    from vision_pipeline.emulator.server import serve
    from vision_pipeline.wiring.library import load_catalogue

    try:
        settings = read_settings(
            fault=fault or [],
            script=script,
            port=port,
            engine=engine,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            limit_kind=limit_kind,
            burst_s=burst,
            rate_headers=rate_headers,
            retry_after=retry_after,
            latency_s=latency,
            latency_model=latency_model,
            batch_hour_s=batch_hour,
            batch_queue_s=batch_queue,
            batch_run_s=batch_run,
            seed=seed,
            api_key=api_key,
        )
    except ValueError as error:
        raise ConfigError(f"emulator: {error}") from None
    with suppress(Interrupted):  # the way to end it
        serve(settings, load_catalogue(), on_ready=lambda url: print(f"{url}/v1", flush=True))
