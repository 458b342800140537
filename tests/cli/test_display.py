"""The display on a terminal and elsewhere."""

import io
import logging
import sys

import pytest

from vision_pipeline.cli.display import Display
from vision_pipeline.cli.streams import forgiving_streams
from vision_pipeline.core.activity import Quota, Stage


class Terminal(io.StringIO):
    """A stderr that is a terminal and no file."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_figures(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    with Display("receipts") as display:
        display.progress.total, display.progress.done, display.progress.worked = 10, 4, 4
        display.progress.errors["timeout"] = 1
        display.progress.cost_usd = 0.25
        display.stop.by_user()
        assert display.painted.wait(10)
    shown = terminal.getvalue()
    assert "receipts" in shown
    assert "1 errors" in shown
    assert "0.2500 USD" in shown
    assert "stopping" in shown


class Gone(io.StringIO):
    """A terminal that has been closed."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def isatty(self) -> bool:
        return True

    def write(self, _text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error")])
def test_a_terminal_that_is_gone_stops_no_display(monkeypatch, capsys, error):
    monkeypatch.setattr(sys, "stderr", Gone(error))
    monkeypatch.setenv("TERM", "xterm-256color")
    with forgiving_streams(), Display("receipts") as display:
        assert display.painted.wait(10)
    sys.stdout.write("the result\n")
    assert capsys.readouterr().out == "the result\n"


def test_a_line_tells_the_same_without_a_terminal():
    display = Display("receipts")
    assert display.line() == "receipts: listing the source"
    display.progress.begin(10)
    display.progress.done, display.progress.worked = 4, 4
    assert display.line().startswith("receipts: 4/10 · ")
    assert "left" in display.line()


def test_the_line_tells_of_limits_refusals_and_why_nothing_moves():
    display = Display("receipts")
    display.progress.begin(10)
    activity = display.progress.activity
    activity.requests = Quota(limit=1200, used=600)
    activity.refused, activity.in_flight = 3, 8
    activity.hold(Stage.REQUEST_LIMIT, until_s=activity.now_s() + 34.4)
    line = display.line()
    assert "· the request limit frees in 34 s ·" in line
    assert "50% of 1.2k requests/min · 8 in flight · 3 refused" in line
    assert "tokens/min" not in line


def test_a_narrow_terminal_keeps_why_nothing_moves_and_what_went_wrong():
    display = Display("receipts")
    display.progress.begin(10)
    activity = display.progress.activity
    activity.requests = Quota(limit=1200, used=600)
    activity.hold(Stage.REQUEST_LIMIT, until_s=activity.now_s() + 34.4)
    figures = display._figures(50)
    assert figures == "the request limit frees in 34 s · 0.0/s · 0 errors"
    assert display._figures(10) == "the request limit frees in 34 s"


def test_what_the_package_warns_of_is_a_line_of_its_own_and_nothing_else(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log = logging.getLogger("vision_pipeline.quota")
    with Display("receipts"):
        log.info("all is well")
        log.warning("the server is away (%s)", "no answer")
    log.debug("nobody listens any more")
    assert stderr.getvalue() == "receipts: the server is away (no answer)\n"


def test_a_cause_of_several_lines_stays_in_the_line():
    display = Display("receipts")
    display.progress.begin(10)
    display.progress.activity.elsewhere = "no answer for 9 s (ClientError: first\n  second)"
    assert "no answer for 9 s (ClientError: first second)" in display.line()
    assert "\n" not in display.line()
