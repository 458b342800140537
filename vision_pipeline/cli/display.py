"""What a person sees of a run: progress on stderr while it works, a summary at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from vision_pipeline.core.activity import Activity
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ErrorCode, RunError, StoppedError
from vision_pipeline.core.plain_text import plain
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.pipeline.summary import Summary

BAR_INTERVAL_S = 0.2
LINE_INTERVAL_S = 10.0
SHOWN_SHARE = 0.01
_BAR, _WIDE = 20, 110  # columns: of the bar, and of a terminal that has room for one
MAX_EXAMPLE = 160  # characters


class Display:
    """Shows counters from a thread of its own: a bar on a terminal, a line now and then elsewhere.

    Attributes:
        progress: The counters that the run raises.
        stop: Raised when the run is asked to stop.
        painted: Set once the figures of a bar have been shown.
    """

    def __init__(self, name: str) -> None:
        self.progress = Progress()
        self.stop = Stop()
        self._name = name
        self._started_s = monotonic()
        self._ended = threading.Event()
        self.painted = threading.Event()
        self._thread = threading.Thread(target=self._show, name="display", daemon=True)
        self._log = logging.getLogger("vision_pipeline")
        self._remarks = _Remarks(self)

    def __enter__(self) -> Self:
        self._console = Console(stderr=True)
        self._log.addHandler(self._remarks)
        self._was_passed_on, self._log.propagate = self._log.propagate, False
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._log.removeHandler(self._remarks)
        self._log.propagate = self._was_passed_on
        if isinstance(error, RunError) and self.progress.worked:
            self._print(self.line())

    def _show(self) -> None:
        if self._console.is_terminal:
            self._show_bar()
        else:
            self._show_lines()

    def _show_lines(self) -> None:
        shown = ""
        while not self._ended.wait(LINE_INTERVAL_S):
            line = self.line()
            if line != shown:  # a wait is told once, not every ten seconds
                self._print(line)
            shown = line

    def remark(self, text: str) -> None:
        """Show a line beside the progress."""
        self._print(f"{self._name}: {text}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def line(self) -> str:
        """The state of the run in one line."""
        progress = self.progress
        if progress.total is None:
            return f"{self._name}: {_before_work(progress)}"
        return f"{self._name}: {progress.done}/{progress.total} · {self._figures()}"

    def _show_bar(self) -> None:
        width = self._console.width
        columns = (
            TextColumn("{task.description}", markup=False),
            *((BarColumn(bar_width=_BAR),) if width >= _WIDE else ()),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        counts = 2 * len(str(self.progress.total or 0)) + _BAR * (width >= _WIDE) + 8
        room = width - len(self._name) - counts
        with Bars(*columns, console=self._console, transient=True, auto_refresh=False) as bars:
            task = bars.add_task(self._name, total=None, figures="starting")
            while not self._ended.wait(BAR_INTERVAL_S):
                bars.update(
                    task,
                    total=self.progress.total,
                    completed=self.progress.done,
                    figures=self._figures(room),
                    refresh=True,
                )
                self.painted.set()

    def _figures(self, room: int | None = None) -> str:
        """The figures, of which the least telling are left out where they do not fit `room`."""
        progress = self.progress
        if progress.total is None:
            return _before_work(progress)
        activity = progress.activity
        elapsed_s = monotonic() - (progress.begun_at_s or self._started_s)
        rate = progress.worked / elapsed_s if elapsed_s else 0.0
        left_s = progress.left_s() if progress.total > progress.done else None
        # Each with its rank, the least telling highest; requests on the wire may finish.
        parts = [
            (0, "stopping, again to cut off" if isinstance(self.stop.cause, StoppedError) else ""),
            (1, activity.news),
            (4, f"{rate:.1f}/s"),
            *((6, share) for share in _shares(activity)),
            (7, f"{activity.in_flight} in flight"),
            (3, f"{activity.refused} refused" if activity.refused else ""),
            (2, f"{progress.failed} errors"),
            (8, f"{count(progress.prompt_tokens + progress.completion_tokens)} tokens"),
            (5, f"{progress.cost_usd:.4f} USD" if progress.cost_usd else ""),
            (3, f"{duration(left_s)} left" if left_s else ""),
            (4, progress.budget_left),
        ]
        shown = [(rank, part) for rank, part in parts if part]
        while room is not None and len(shown) > 1 and len(_joined(shown)) > room:
            shown.remove(max(shown, key=lambda each: each[0]))
        return _joined(shown)


class _Remarks(logging.Handler):
    """Shows what the package logs where it does not break the bar."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.remark(record.getMessage())


def _joined(parts: list[tuple[int, str]]) -> str:
    # What a server or a library says may have several lines; a progress line is one.
    return " · ".join(" ".join(part.split()) for _, part in parts)


def _before_work(progress: Progress) -> str:
    if progress.waits_for:
        return f"waiting for {progress.waits_for}"
    return f"listing {progress.lists}"


def _shares(activity: Activity) -> list[str]:
    """How much of each limit is used, where a limit is known."""
    quotas = (("requests", activity.requests), ("tokens", activity.tokens))
    return [
        f"{quota.share:.0%} of {count(quota.limit or 0)} {what}/min"
        for what, quota in quotas
        if quota.share is not None
    ]


def print_summary(config: RunConfig, summary: Summary) -> None:
    """Tell on stdout what became of a run."""
    done = f"{summary.ok} answered, {summary.failed} errors"
    if summary.resumed:
        done += ", the run that was cut off is finished"
    print_outcome(config.name, summary, done, time=_time(summary), notes=_notes(config, summary))


def print_outcome(
    name: str, summary: Summary, done: str, *, time: str, notes: Iterable[str]
) -> None:
    """Tell on stdout what a command did, what is wrong with which items, and where the table is."""
    console = Console()
    if summary.run_id is None:
        done = "nothing to do"
    console.print(f"[bold]{name}[/bold]: {done} ({time})")
    if summary.errors:
        console.print(error_table(summary.errors, summary.examples))
    for line in notes:
        console.print(line, markup=False, highlight=False)
    console.print(f"table: {summary.results}", markup=False, highlight=False, soft_wrap=True)


def _notes(config: RunConfig, summary: Summary) -> list[str]:
    notes = []
    if config.model.provider == "emulator" and config.model.engine == "synthetic":
        notes.append("the emulator made these answers up: nobody looked at an image")
    if summary.already_answered or summary.already_failed:
        failed = f", {summary.already_failed} failed for good" if summary.already_failed else ""
        notes.append(f"left alone: {summary.already_answered} answered before{failed}")
    if summary.skipped:
        told = ", ".join(f"{number} {why}" for why, number in summary.skipped.items())
        notes.append(f"passed over in the source: {told}")
    price = "prices of batches" if config.execution.mode == "batch" else "list price"
    cost = "no list price"
    if summary.cost_usd is not None:
        cost = f"{summary.cost_usd:.4f} USD at {price}"
    if summary.seconds_by_stage:
        notes.append(f"time: {_where(summary.seconds_by_stage)}")
    if summary.advice:
        notes.append(f"advice: {summary.advice}")
    calls = f"{summary.calls} calls"
    rows = (
        f"{summary.from_ledger} from the ledger, "
        f"{count(summary.prompt_tokens)} + {count(summary.completion_tokens)} tokens, {cost}"
    )
    if not summary.resumed:
        return [*notes, f"{calls}, {rows}"]
    return [
        *notes,
        f"since it went on: {calls}",
        f"the whole run: {summary.items} rows, {rows}",
        "it worked on the images that were there when it began; the same command again asks about "
        "those added or changed after that",
    ]


def _time(summary: Summary) -> str:
    since = " since it went on" if summary.resumed and summary.run_id else ""
    return f"{duration(summary.seconds)}{since}"


def _where(seconds: dict[str, float]) -> str:
    """Where the time went, in shares; what took less than one in a hundred is left out."""
    total = sum(seconds.values()) or 1.0
    shares = ((stage, spent / total) for stage, spent in seconds.items())
    return ", ".join(f"{stage} {share:.0%}" for stage, share in shares if share >= SHOWN_SHARE)


def error_table(errors: dict[str, int], examples: dict[str, str] | None = None) -> Table:
    """Rows by error code, with what each means and an item that has it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("error_code", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("what to do, and the first one" if examples else "what to do")
    for code, rows in errors.items():
        table.add_row(code, str(rows), ErrorCode(code).meaning)
        if examples and code in examples:
            table.add_row("", "", Text(plain(examples[code][:MAX_EXAMPLE]), style="dim"))
    return table


def count(number: float) -> str:
    """A number short enough for a progress line: `950`, `12.3k`, `4.56M`, `1.2G`."""
    for unit, size in (("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """`8.3 s`, `4 min 05 s`, `2 h 10 min`."""
    minute, hour = 60, 3600
    if seconds < minute:
        return f"{seconds:.1f} s"
    if seconds < hour:
        return f"{seconds // minute:.0f} min {seconds % minute:02.0f} s"
    return f"{seconds // hour:.0f} h {seconds % hour // minute:02.0f} min"
