import pytest

from vision_pipeline.cli.serve import _schedule


@pytest.fixture
def serve(command, recipe_file):
    return lambda *arguments: command("serve", recipe_file, *arguments)


def test_without_a_server_it_says_what_to_type(serve):
    ended = serve("--interval", "15m")
    assert ended.code == 2
    assert "prefect server start" in ended.err
    assert "export PREFECT_API_URL=http://127.0.0.1:4200/api" in ended.err


def test_a_server_that_does_not_answer_is_told(serve, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ended = serve("--interval", "15m")
    assert ended.code == 3
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --cron or --interval"),
        (("--cron", "0 3 * * *", "--interval", "15m"), "give either --cron or --interval"),
        (("--interval", "soon"), "--interval 'soon': expected such as 90s, 15m, 6h or 1d"),
        (("--interval", "0"), "--interval '0': expected"),
        (("--interval", "1h", "--timezone", "Europe/Paris"), "--timezone: goes with --cron"),
        (("--cron", "at three"), "--cron 'at three' with --timezone 'UTC': "),
        (("--cron", "0 3 * * *", "--timezone", "Mars"), "with --timezone 'Mars': "),
    ],
)
def test_a_wrong_schedule_is_told_before_a_server_is_asked(serve, arguments, message):
    ended = serve(*arguments)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_schedules_are_what_was_typed():
    assert _schedule(None, "90s", None).interval.total_seconds() == 90
    assert _schedule(None, "2h", None).interval.total_seconds() == 7200
    nightly = _schedule("0 3 * * *", None, "Europe/Paris")
    assert (nightly.cron, nightly.timezone) == ("0 3 * * *", "Europe/Paris")
    assert _schedule("@daily", None, None).timezone == "UTC"
