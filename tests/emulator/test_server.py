"""The process: its one line, its exit codes, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE

import httpx
import pytest
import typer

from vision_pipeline.cli.commands import app
from vision_pipeline.emulator.__main__ import main

MODULE = ("-m", "vision_pipeline.emulator")


@pytest.fixture
async def process():
    started = []

    async def start(*arguments, command=MODULE):
        child = await asyncio.create_subprocess_exec(
            sys.executable, *command, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def address_of(child):
    return (await child.stdout.readline()).decode().strip()


async def end_of(child):
    """Exit code, stdout and stderr."""
    async with asyncio.timeout(20):
        out, err = await child.communicate()
    return child.returncode, out.decode(), err.decode()


async def ask(base_url):
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    async with httpx.AsyncClient(headers={"authorization": "Bearer x"}) as client:
        return await client.post(f"{base_url}/v1/chat/completions", json=body, timeout=20)


async def get(url):
    async with httpx.AsyncClient(headers={"authorization": "Bearer x"}) as client:
        return (await client.get(url)).json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_its_address_and_ends_quietly_on_a_signal(process, number):
    child = await process("--port", "0")
    base_url = await address_of(child)
    assert (await get(f"{base_url}/_emulator/stats"))["received"] == 0
    child.send_signal(number)
    assert await end_of(child) == (0, "", "")


async def test_a_request_in_flight_does_not_hold_up_the_end(process):
    child = await process("--fault", "stall=1")
    base_url = await address_of(child)
    waiting = asyncio.create_task(ask(base_url))
    async with asyncio.timeout(20):
        while (await get(f"{base_url}/_emulator/stats"))["in_flight"] == 0:
            pass
    child.send_signal(signal.SIGTERM)
    assert (await waiting).status_code == 503
    assert await end_of(child) == (0, "", "")


async def test_it_ends_with_the_process_that_holds_its_stdin(process, tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("models:\n  - {id: only-one}\n")
    child = await process("--until-stdin-closes", "--models", str(models))
    listed = await get(f"{await address_of(child)}/v1/models")
    assert [card["id"] for card in listed["data"]] == ["only-one"]
    child.stdin.close()
    assert await end_of(child) == (0, "", "")


async def test_a_port_in_use_is_one_clear_line(process):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await end_of(await process("--port", where.rpartition(":")[2]))
    message = f"cannot listen on {where}: Address already in use; choose another port\n"
    assert ended == (2, "", message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "flood=1"],
        ["--fault", "reset"],
        ["--engine", "vision"],
        ["--limit-kind", "hour"],
        ["--rate-headers", "cookie"],
        ["--retry-after", "soon"],
        ["--latency-model", "wild"],
        ["--burst", "-1.5"],
    ],
)
def test_bad_arguments_exit_with_two_and_name_the_value(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[-1].partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("text", ["models: [", "models: [{id: a, color: red}]"])
def test_an_unusable_models_file_is_named(text, tmp_path, capsys):
    file = tmp_path / "models.yaml"
    file.write_text(text)
    assert main(["--models", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_a_missing_models_file_is_named(capsys):
    assert main(["--models", "/nowhere/models.yaml"]) == 2
    assert "/nowhere/models.yaml" in capsys.readouterr().err


async def test_a_missing_reader_is_one_clear_line(process):
    # A module that is None in sys.modules cannot be imported.
    program = (
        "import sys; sys.modules['rapidocr'] = None\n"
        "from vision_pipeline.emulator.__main__ import main; sys.exit(main(['--engine', 'ocr']))"
    )
    ended = await end_of(await process(command=("-c", program)))
    assert ended == (2, "", "the ocr engine needs: pip install -c constraints.txt '.[local]'\n")


def test_an_answer_leaves_no_sooner_than_the_latency(start):
    assert start(latency_s=0.2).chat().elapsed.total_seconds() >= 0.2


def test_a_script_that_cannot_be_used_is_one_clear_line(tmp_path, capsys):
    file = tmp_path / "outage.yaml"
    file.write_text("- {after_s: 5, colour: red}")
    assert main(["--script", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}: step 1: colour: is not one of faults")


async def test_the_options_of_the_process_reach_the_emulator(process, tmp_path):
    file = tmp_path / "outage.yaml"
    file.write_text("- {after_requests: 1, faults: {http_503: 1.0}}")
    options = ("--limit-kind", "bucket", "--burst", "2", "--requests-per-minute", "600")
    child = await process(*options, "--rate-headers", "openai", "--script", str(file))
    base_url = await address_of(child)
    served, failed = await ask(base_url), await ask(base_url)
    assert served.headers["x-ratelimit-remaining-requests"] == "19"
    assert (served.status_code, failed.status_code) == (200, 503)


async def test_the_times_of_batches_reach_the_emulator_and_its_files_go_with_it(
    process, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    child = await process("--batch-hour", "0", "--batch-queue", "1000", "--batch-run", "0")
    base_url = await address_of(child)
    order = {"endpoint": "/v1/chat/completions", "model": "m", "requests": [{"body": {}}]}
    async with httpx.AsyncClient(base_url=base_url, headers={"authorization": "Bearer x"}) as http:
        made = (await http.post("/v1/batch/jobs", json=order)).json()
        job = (await http.get(f"/v1/batch/jobs/{made['id']}")).json()
    assert job["status"] == "TIMEOUT_EXCEEDED"
    assert list(tmp_path.glob("emulator-files-*"))
    child.send_signal(signal.SIGTERM)
    assert await end_of(child) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_the_two_command_lines_have_the_same_options(capsys):
    shared = {
        *("--port", "--engine", "--seed", "--requests-per-minute", "--tokens-per-minute"),
        *("--limit-kind", "--burst", "--rate-headers", "--retry-after"),
        *("--latency", "--latency-model", "--fault", "--script"),
        *("--batch-hour", "--batch-queue", "--batch-run"),
    }
    with pytest.raises(SystemExit):
        main(["--help"])
    assert shared <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    command = typer.main.get_command(app).commands["emulator"]
    assert shared <= {name for option in command.params for name in option.opts}


def test_a_connection_that_is_closed_after_its_answer_loses_nothing(start):
    api = start()
    reply = httpx.post(
        f"{api.base_url}/v1/chat/completions",
        headers={"authorization": "Bearer x", "connection": "close"},
        json={"model": "mistral-small-2603", "messages": [{"role": "user", "content": "a"}]},
    )
    assert reply.json()["object"] == "chat.completion"
    assert reply.headers["connection"] == "close"


def test_a_client_that_leaves_before_its_body_is_sent_is_counted_as_gone(start):
    api = start()
    with socket.create_connection(("127.0.0.1", int(api.base_url.rpartition(":")[2]))) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n"
            b"content-length: 100\r\n\r\nonly this"
        )
        for _ in range(10_000):  # until the server has read it, within some seconds
            if api.stats()["in_flight"]:
                break
    for _ in range(10_000):
        if not api.stats()["in_flight"]:
            break
    stats = api.stats()
    assert (stats["received"], stats["abandoned"], stats["statuses"]) == (1, 1, {})
