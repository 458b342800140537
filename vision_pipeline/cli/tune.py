"""The command `tune`: the cheapest setting that is good enough, found by a truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
    print_json,
)
from vision_pipeline.cli.figures import say as show
from vision_pipeline.cli.figures import share, usd
from vision_pipeline.cli.judging import CompareOption, KeyOption, MapOption
from vision_pipeline.cli.pairs import pairs
from vision_pipeline.cli.run import ModeOption, say, with_wishes
from vision_pipeline.core.errors import BudgetError, ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.results.evaluation.judging import Judgement
    from vision_pipeline.results.evaluation.truth import Truth
    from vision_pipeline.results.evaluation.tuning import Setting, Trial, Tuning

EPILOG = """
Examples:

    vision-pipeline tune configs/receipts.yaml --truth truth.csv --over image.max_side_px=768,1024,1540

    vision-pipeline tune configs/receipts.yaml --truth truth.csv --over model.name=mistral-small-2603,ministral-3b-2512 --field total --min 0.95 --max-cost 2 --html tune.html
"""  # noqa: E501


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune", epilog=EPILOG)(_tune)


def _tune(
    config: ConfigArgument,
    truth: Annotated[
        str,
        typer.Option(metavar="FILE", help="True answers, as `evaluate` takes them."),
    ],
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=A,B,…",
            help="A key of the recipe and its values; of several keys, all combinations.",
        ),
    ],
    field: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Judge by this field. Default: all fields of a row."),
    ] = None,
    minimum: Annotated[
        float | None,
        typer.Option(
            "--min", min=0, max=1, help="Name the cheapest setting of that accuracy; 1 if none is."
        ),
    ] = None,
    compare: CompareOption = None,
    rename: MapOption = None,
    key: KeyOption = None,
    source: SourceOption = None,
    output: OutputOption = None,
    settings: SetOption = None,
    mode: ModeOption = None,
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0, help="What this command may spend over all settings."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the frontier drawn.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Ask about the images of a truth under several settings, and put accuracy beside cost.

    Each combination of the values of --over is a run of its own, with its table below OUTPUT/tune;
    all share the recipe's ledger, so that nothing is paid twice, and the same command goes on.
    A setting is on the frontier where no other one is as accurate for less. Cost is what a thousand
    images cost at list price, whether they were paid now or before.
    Exit codes: 0; 1 no setting reaches --min; 2 bad usage or config; 3 stopped early, resumable.
    """
    from vision_pipeline.results.evaluation.judging import Judgement
    from vision_pipeline.results.evaluation.truth import read_truth
    from vision_pipeline.results.evaluation.tuning import settings_of, tuning_of
    from vision_pipeline.wiring.tuning import check_no_jobs, check_recipe

    values = {name: _values(name, given) for name, given in pairs("--over", over).items()}
    how = Judgement(
        compare=pairs("--compare", compare),
        renamed={name: column for column, name in pairs("--map", rename).items()},
        key=key,
        worst=0,
    )
    true = read_truth(truth, unchecked=False)
    wishes = with_wishes(settings, mode=mode)
    tried = []
    for setting in settings_of(values):  # all of them are checked before the first is asked
        given = [*wishes, *(f"{name}={value}" for name, value in setting.items())]
        recipe = load_config(config, source=source, output=output, settings=given)
        watched = max_cost is not None
        check_recipe(recipe, true, how.renamed, field=field, watched=watched)
        check_no_jobs(recipe)
        tried.append((setting, recipe))
    trials = _Trials(true, how, field=field, left_usd=max_cost)
    stopped = None
    for setting, recipe in tried:
        try:
            trials.add(setting, recipe)
        except BudgetError as error:
            stopped = error
            break
    tuning = tuning_of(field or "every field of a row", trials.found)
    _show(tuning, minimum, as_json=as_json, html=html)
    if stopped is not None:
        raise stopped
    raise typer.Exit(int(minimum is not None and tuning.cheapest(minimum) is None))


def _values(name: str, given: str) -> list[str]:
    if name.partition(".")[0] in {"source", "output", "budget", "name"}:
        raise ConfigError(f"--over {name}: settings differ in how is asked, not in this")
    values = [value.strip() for value in given.split(",")]
    if not all(values) or len(set(values)) < len(values):
        raise ConfigError(f"--over {name}={given}: a value is empty, or comes twice")
    return values


class _Trials:
    """Tries one setting after the other, within what may be spent."""

    def __init__(
        self, truth: Truth, how: Judgement, *, field: str | None, left_usd: float | None
    ) -> None:
        self.found: list[Trial] = []
        self._truth, self._how = truth, how
        self._field, self._left_usd = field, left_usd

    def add(self, setting: Setting, recipe: RunConfig) -> None:
        """Run it, and judge what came of it."""
        from vision_pipeline.cli.display import Display
        from vision_pipeline.cli.engines import run_trial_local
        from vision_pipeline.results.evaluation.judging import judge
        from vision_pipeline.results.evaluation.rows import read_chosen
        from vision_pipeline.results.evaluation.tuning import folder_name, told, trial_of
        from vision_pipeline.wiring.tuning import price_of, trial_config

        config = trial_config(recipe, folder_name(setting), max_usd=self._left_usd)
        with Display(told(setting)) as display:
            summary = run_trial_local(
                config,
                self._truth,
                key=self._how.key,
                progress=display.progress,
                stop=display.stop,
            )
        if self._left_usd is not None:
            self._left_usd = max(0.0, self._left_usd - (summary.cost_usd or 0.0))
        evaluation = judge(read_chosen(config.output.path), self._truth, self._how)
        trial = trial_of(setting, evaluation, price_of(config), field=self._field)
        self.found.append(trial)
        say(f"{told(setting)}: {share(trial.accuracy)}, {usd(trial.usd_per_1000)} USD per 1,000")


def _show(tuning: Tuning, minimum: float | None, *, as_json: bool, html: Path | None) -> None:
    if html is not None and tuning.trials:
        from vision_pipeline.results.evaluation.page import TUNING, write_found

        write_found(TUNING, tuning, html)
    if as_json:
        print_json(tuning.to_dict())
        return
    from rich.console import Console

    from vision_pipeline.results.evaluation.tuning import told

    console = Console()
    if not tuning.trials:
        return
    console.print(_table(tuning.trials))
    show(console, f"accuracy of {tuning.judged}, over {tuning.trials[0].rows} images; *: frontier")
    if minimum is None:
        return
    cheapest = tuning.cheapest(minimum)
    if cheapest is None:
        show(console, f"no setting reaches {minimum:.1%}")
        return
    show(console, f"cheapest of at least {minimum:.1%}: {told(cheapest.setting)}")
    if cheapest.accuracy.low < minimum:
        show(console, "it may be less: more true answers make that surer")


def _table(trials: Sequence[Trial]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for key in trials[0].setting:
        table.add_column(key.rpartition(".")[2], overflow="fold")
    for name in ("accuracy", "USD per 1,000", "tokens", "s", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in trials:
        table.add_row(
            "*" if trial.is_best else "",
            *trial.setting.values(),
            share(trial.accuracy),
            usd(trial.usd_per_1000) or "no price",
            f"{trial.tokens_per_image:,.0f}",
            "" if trial.latency_s is None else f"{trial.latency_s:.1f}",
            f"{trial.errors:,}",
        )
    return table
