"""The command `plan`: what a run would ask, what it would cost, and what would cost less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    LimitOption,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
    print_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.core.forecast import Interval
    from vision_pipeline.pipeline.estimate import Estimate
    from vision_pipeline.pipeline.forecasting import Forecast
    from vision_pipeline.pipeline.outlook import Prospect
    from vision_pipeline.wiring.services import Wish

EPILOG = """
Examples:

    vision-pipeline plan configs/receipts.yaml

    vision-pipeline plan configs/receipts.yaml --sample 20

    vision-pipeline plan configs/receipts.yaml --source scans/ --json
"""
_SHOWN = 0.001  # below that `g` would write an exponent


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", epilog=EPILOG)(_plan)


def _plan(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Ask about N items, to learn what replies take; they are paid for, and kept.",
        ),
    ] = 0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Count what `run` would ask and what it would cost, without a call.

    Every pending image is read and prepared, so image tokens are exact and unreadable files known.
    What answers take is told from earlier replies to this question or prompt, if there are any, in
    95 of 100 cases; else `--sample` asks about a few items, whose replies the run then finds in the
    ledger. Below stand other settings that would cost less, with what they would save.
    """
    loaded = load_config(config, source=source, output=output, limit=limit, settings=settings)
    from vision_pipeline.wiring.services import AS_USUAL

    plan_ahead(loaded, AS_USUAL, as_json=as_json, sample=sample)


def plan_ahead(config: RunConfig, wish: Wish, *, as_json: bool, sample: int = 0) -> None:
    """Count what would be asked, and tell it."""
    from vision_pipeline.cli.display import Display
    from vision_pipeline.cli.engines import watched
    from vision_pipeline.wiring.watch import Watch, stop_on_signals

    with Display(config.name) as display:
        watch = Watch(display.progress, display.stop, stop_on_signals)
        found = watched(lambda: _estimate(config, wish, sample), watch)
    if as_json:
        print_json(found.to_dict())
    else:
        of = "in the source" if wish.selection.is_all else "selected"
        _print(config, found, of=of)


async def _estimate(config: RunConfig, wish: Wish, sample: int) -> Estimate:
    from vision_pipeline.pipeline.estimate import estimate
    from vision_pipeline.wiring.alternatives import alternatives
    from vision_pipeline.wiring.services import open_services

    async with open_services(config, wish, asks=sample > 0) as services:
        return await estimate(services, alternatives=alternatives(config), sample=sample)


def _rule(config: RunConfig) -> str:
    """How image tokens are counted."""
    from vision_pipeline.wiring.library import load_catalogue

    if load_catalogue().find(config.model.name) is not None:
        return "exact"
    return f"by the default rule; {config.model.name} is not in models.yaml"


def _print(config: RunConfig, found: Estimate, *, of: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for number, what in (
        (found.items, f"items {of}"),
        (found.already_answered, "answered before, left alone"),
        (found.already_failed, "failed before for good, left alone"),
        (found.from_ledger, "answered from the ledger, without a call"),
        (found.duplicates, "ask the same as another item, asked once"),
        (found.errors.total(), "error rows without a call"),
        (found.to_ask, "calls"),
        (found.image_tokens, f"image tokens, {_rule(config)}"),
        (found.text_tokens, "text tokens, estimated"),
        (found.sent_bytes, "bytes of images to send"),
    ):
        table.add_row(f"{number:,}", what)
    console = Console()
    console.print(f"[bold]{config.name}[/bold]: {config.model.name}, prompt {config.prompt}")
    console.print(table)
    if found.errors:
        from vision_pipeline.cli.display import error_table

        console.print(error_table(dict(found.errors), found.examples))
    for why, number in found.skipped.items():
        console.print(f"passed over in the source: {number} {why}", markup=False)
    if found.sampled:
        cost = "" if found.sample_usd is None else f", for {_usd(found.sample_usd)} USD"
        console.print(f"asked {found.sampled} of them as a sample{cost}; the run finds the replies")
    if found.forecast is not None and found.to_ask:
        allowed = [_allowed(limit, found.to_ask) for limit in found.budget]
        for line in [*_told(found.forecast), *allowed]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if found.forecast.cheaper:
            console.print(_cheaper(found.forecast))


def _told(forecast: Forecast) -> list[str]:
    from vision_pipeline.cli.display import count, duration

    output = forecast.output_tokens
    if forecast.is_known:
        tokens = f"{count(output.likely)} tokens ({count(output.low)} to {count(output.high)})"
        basis = f"by {forecast.replies:,} replies to {forecast.basis}"
        lines = [f"answers: {tokens}, {basis}"]
    else:
        unknown = "nothing tells how long they are; `--sample 20` asks about 20 items to learn it"
        lines = [f"answers: at most {count(output.high)} tokens; {unknown}"]
    if forecast.usd is None:
        lines.append("cost: the model has no list price")
    else:
        lines.append(f"cost: {_range(forecast.usd, known=forecast.is_known)} USD at list price")
    if forecast.batch_usd is not None and forecast.batch_saves_usd:
        usd = _range(forecast.batch_usd, known=forecast.is_known)
        lines.append(f"in a batch job: {usd} USD, which saves {_usd(forecast.batch_saves_usd)}")
    if forecast.seconds is not None:
        lines.append(f"time: {duration(forecast.seconds)} at least, by {forecast.binds}")
    return lines


def _allowed(limit: Prospect, calls: int) -> str:
    number = _usd if "usd" in limit.key else "{:,.0f}".format
    of = f"{number(limit.left)} of {number(limit.most)} left"
    if limit.suffices:
        return f"{limit.key}: {of}, enough for all calls"
    return (
        f"{limit.key}: {of}, may not suffice: likely enough for {limit.calls:,} of {calls:,} calls"
    )


def _cheaper(forecast: Forecast) -> Table:
    from rich.table import Table

    from vision_pipeline.cli.display import count

    table = Table(box=None, pad_edge=False)
    table.add_column("cheaper, by --set", no_wrap=True)
    for heading in ("input", "USD", "in batch", "saves"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in forecast.cheaper:
        table.add_row(
            each.setting,
            count(each.input_tokens.likely),
            ("" if forecast.is_known else "at most ") + _usd(each.usd.likely),
            _usd(each.batch_usd.likely),
            _usd(each.saves_usd),
        )
    return table


def _range(usd: Interval, *, known: bool) -> str:
    if not known:
        return f"at most {_usd(usd.high)}"
    return f"{_usd(usd.likely)} ({_usd(usd.low)} to {_usd(usd.high)})"


def _usd(amount: float) -> str:
    if amount >= 1 or not amount:
        return f"{amount:,.2f}"
    return f"{amount:.3g}" if amount >= _SHOWN else f"{amount:.6f}"
