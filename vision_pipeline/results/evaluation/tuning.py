"""Which setting is good enough at the least cost: settings side by side, and their frontier."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.models import Price
from vision_pipeline.results.evaluation.scores import Evaluation
from vision_pipeline.results.evaluation.tuning_plot import Plot, plot_of
from vision_pipeline.results.table import open_folder, read_latest

MOST_SETTINGS = 100
_PER = 1000  # images

Setting = Mapping[str, str]


def settings_of(over: Mapping[str, Sequence[str]]) -> list[Setting]:
    """Every combination of values, the last key changing fastest.

    Args:
        over: Values by key of the recipe; each key has one at least.

    Raises:
        ConfigError: There are more combinations than anybody reads.
    """
    found: list[Setting] = [
        dict(zip(over, each, strict=True)) for each in itertools.product(*over.values())
    ]
    if len(found) > MOST_SETTINGS:
        raise ConfigError(f"--over: {len(found)} combinations; at most {MOST_SETTINGS}")
    return found


def told(setting: Setting) -> str:
    """A setting in a line: `image.max_side_px=768 model.name=ministral-3b-2512`."""
    return " ".join(f"{key}={value}" for key, value in setting.items()) or "as in the recipe"


def folder_name(setting: Setting) -> str:
    """A name of a setting that every file system takes; no other setting has it.

    Raises:
        ConfigError: It would be longer than file systems allow.
    """
    name = ",".join(
        f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in setting.items()
    )
    if len(name) > 200:  # noqa: PLR2004  (of 255 bytes)
        raise ConfigError(f"--over: {told(setting)[:80]}…: too long for the name of a folder")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A setting, and what came of it.

    Attributes:
        setting: Keys and values over the recipe's.
        output: Where its table is.
        rows: Judged ones.
        errors: Those without an answer; they count as wrong.
        accuracy: Of what was judged, with the bounds of 95 of 100 samples.
        usd_per_1000: What a thousand images cost at list price, whoever has paid; None without one.
        tokens_per_image: In and out, on average of the answered ones.
        latency_s: Half of the replies took longer; None where all came in batches.
        is_best: Whether no other setting is as accurate for less, or more accurate for as little.
    """

    setting: Setting
    output: str
    rows: int
    errors: int
    accuracy: Interval
    usd_per_1000: float | None
    tokens_per_image: float
    latency_s: float | None
    is_best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings side by side.

    Attributes:
        judged: What accuracy is of: a field, or every field of a row.
        trials: In the order in which they were tried.
    """

    judged: str
    trials: Sequence[Trial]

    @property
    def frontier(self) -> list[Trial]:
        """The best ones, the cheapest first."""
        return sorted((each for each in self.trials if each.is_best), key=cost_of)

    def cheapest(self, least: float) -> Trial | None:
        """The cheapest setting of at least that accuracy, or None."""
        good = [each for each in self.trials if each.accuracy.likely >= least]
        return min(good, key=cost_of, default=None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"judged": self.judged, "trials": [each.to_dict() for each in self.trials]}

    @property
    def plot(self) -> Plot:
        """Accuracy over cost, drawn."""
        return plot_of(
            [cost_of(each) for each in self.trials],
            [each.accuracy for each in self.trials],
            [each.is_best for each in self.trials],
        )

    def _repr_html_(self) -> str:
        from vision_pipeline.results.evaluation.page import TUNING, fragment  # noqa: PLC0415

        return fragment(TUNING, self)

    def to_pandas(self) -> pd.DataFrame:
        """A row a setting."""
        rows = [
            {
                **each.setting,
                "accuracy": each.accuracy.likely,
                "low": each.accuracy.low,
                "high": each.accuracy.high,
                "usd_per_1000": each.usd_per_1000,
                "tokens_per_image": each.tokens_per_image,
                "latency_s": each.latency_s,
                "is_best": each.is_best,
            }
            for each in self.trials
        ]
        return pd.DataFrame(rows)


def trial_of(
    setting: Setting, evaluation: Evaluation, price: Price | None, *, field: str | None
) -> Trial:
    """What an evaluation and its rows say of a setting.

    Args:
        setting: Keys and values over the recipe's.
        evaluation: Of the table that it gave.
        price: Of its model, as it was asked.
        field: What accuracy is of; None: every field of a row.

    Raises:
        ConfigError: No such field was judged.
    """
    accuracy = evaluation.accuracy
    if field is not None:
        evaluation.value(field)  # names the fields that there are
        accuracy = evaluation[field].accuracy
    rows = _rows_of(evaluation)
    prompt, completion, cached = (
        pc.sum(rows[name]).as_py() or 0
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
    )
    replies = len(rows) - rows["prompt_tokens"].null_count
    usd = None
    if price is not None:
        usd = price.cost_usd(
            prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached
        )
    latencies = rows["latency_s"].filter(pc.greater(rows["latency_s"], 0))
    return Trial(
        setting=dict(setting),
        output=evaluation.output,
        rows=evaluation.rows,
        errors=evaluation.errors,
        accuracy=accuracy,
        usd_per_1000=usd / max(1, len(rows)) * _PER if usd is not None else None,
        tokens_per_image=(prompt + completion) / max(1, replies),
        latency_s=pc.quantile(latencies, 0.5)[0].as_py() if len(latencies) else None,
    )


def tuning_of(judged: str, trials: Iterable[Trial]) -> Tuning:
    """Trials with the best ones marked."""
    given = list(trials)
    best = [_marked(each, given) for each in given]
    return Tuning(judged, best)


def _marked(trial: Trial, others: Sequence[Trial]) -> Trial:
    is_beaten = any(
        other.accuracy.likely >= trial.accuracy.likely
        and cost_of(other) <= cost_of(trial)
        and (other.accuracy.likely, -cost_of(other)) != (trial.accuracy.likely, -cost_of(trial))
        for other in others
    )
    fields = {name: getattr(trial, name) for name in Trial.__dataclass_fields__}
    return Trial(**fields | {"is_best": not is_beaten})


def cost_of(trial: Trial) -> float:
    """What settings are ordered by: money, or tokens where a model has no price."""
    return trial.tokens_per_image if trial.usd_per_1000 is None else trial.usd_per_1000


def _rows_of(evaluation: Evaluation) -> pa.Table:
    wanted = ["item_id", "prompt_tokens", "completion_tokens", "cached_tokens", "latency_s"]
    rows = read_latest(open_folder(evaluation.output), columns=wanted)
    return rows.filter(pc.is_in(rows["item_id"], pa.array(evaluation.item_ids, pa.string())))
