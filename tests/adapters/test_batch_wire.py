"""The Batch API's client over real connections: cuts, ranges, stalls, large files."""

import asyncio
import errno
import json
import os
import re
import tempfile
from contextlib import AsyncExitStack, ExitStack, aclosing, suppress

import httpx
import pytest
from mistralai.client import Mistral
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.adapters.batches import KEY, MODEL, Time, body, client
from vision_pipeline.adapters.batch_api import calls, downloads
from vision_pipeline.adapters.batch_api.downloads import MAX_WHOLE_TRIES, ResultReader
from vision_pipeline.core.batch import OVERLONG, Job, JobState
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    RefusedFileError,
    RunError,
    StorageError,
)
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.wiring.library import load_catalogue


@pytest.fixture
def start():
    """Starts an emulator whose jobs do not wait, on a socket."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            running(EmulatorSettings(batch_queue_s=0, batch_run_s=0, **settings), load_catalogue())
        )


@pytest.fixture
async def connect():
    """Makes clients that are closed in the end."""
    async with AsyncExitStack() as stack:

        def make(base_url, **options):
            api = client(None, Time(), base_url=f"{base_url}/v1", **options)
            stack.push_async_callback(api.aclose)
            return api

        yield make


async def test_the_vendors_client_sees_the_same_files_and_jobs(start, connect, tmp_path):
    base_url = start().base_url
    api = connect(base_url)
    path = tmp_path / "in.jsonl"
    path.write_bytes(api.line("a", body()) + api.line("b", body()))
    file_id = await api.upload(path, "naïve 1.jsonl")
    job = await api.create(file_id=file_id, metadata={"run": "7"}, timeout_h=2)
    with Mistral(api_key="x", server_url=base_url) as vendor:
        [card] = vendor.files.list(search="naïve").data
        assert (card.id, card.num_lines, card.size_bytes) == (file_id, 2, path.stat().st_size)
        [told] = vendor.batch.jobs.list(metadata={"run": "7"}).data
        assert (told.id, told.model, told.input_files) == (job.id, MODEL, [file_id])
        made = vendor.batch.jobs.create(
            input_files=[file_id], model=MODEL, endpoint="/v1/chat/completions", metadata={"k": "v"}
        )
        assert (await api.find_job({"k": "v"})).id == made.id
        ended = await api.job(job.id)
        rows = vendor.files.download(file_id=ended.result_files[0]).read().splitlines()
    ours = {each.custom_id: json.loads(each.body) async for each in api.results(ended)}
    theirs = {row["custom_id"]: row["response"]["body"] for row in map(json.loads, rows)}
    assert ours == theirs


async def test_over_a_connection_a_lost_answer_is_looked_up(start, connect, tmp_path):
    emulator = start(faults={"job_lost": 1, "upload_lost": 1})
    api = connect(emulator.base_url)
    path = tmp_path / "in.jsonl"
    path.write_bytes(api.line("a", body()))
    file_id = await api.upload(path, "in.jsonl")
    job = await api.create(file_id=file_id, metadata={"run": "7"}, timeout_h=2)
    assert (await api.job(job.id)).state is JobState.SUCCESS
    async with httpx.AsyncClient(base_url=emulator.base_url, trust_env=False) as http:
        counted = (await http.get("/_emulator/stats")).json()["batch"]
    assert (counted["uploads"], counted["jobs"]) == (1, 1)


async def test_a_file_that_is_refused_while_it_goes_up_is_not_sent_again(start, connect, tmp_path):
    api = connect(start(most_file_bytes=100_000).base_url)
    path = tmp_path / "in.jsonl"
    path.write_bytes(api.line("a", body("x" * 20_000_000)))
    with pytest.raises(RefusedFileError, match="413"):
        await api.upload(path, "in.jsonl")


def silence(writer, start):
    """An answer that never comes."""


class Shelf:
    """A server of one result file, whose answers are given by a script, the last over and over."""

    def __init__(self, content, **card):
        self.content = content
        self.card = {"bytes": len(content)} | card
        self.script = [self.whole]
        self.asked = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def _serve(self, reader, writer):
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if "/content" not in head:
                self.send(writer, json.dumps(self.card).encode())
            else:
                found = re.search(r"range: bytes=(\d+)-", head)
                self.asked.append(int(found[1]) if found else None)
                assert "accept-encoding: identity" in head
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if answer is silence:
                    await reader.read()  # until the client gives up
                else:
                    answer(writer, self.asked[-1])
            await writer.drain()
        writer.close()

    def send(self, writer, content, *, status=200, length=None, **headers):
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {length or len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "Connection: close"]).encode() + b"\r\n\r\n" + content)

    def whole(self, writer, start):
        self.send(writer, self.content)

    def cut(self, writer, start):
        self.send(writer, self.content[: len(self.content) // 2], length=len(self.content))

    def rest(self, writer, start):
        content = self.content[start:]
        told = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        self.send(writer, content, status=206, content_range=told)


def rows(count):
    return b"".join(
        json.dumps(
            {"custom_id": f"r{n}", "response": {"status_code": 200, "body": {"n": n}}}
        ).encode()
        + b"\n"
        for n in range(count)
    )


JOB = Job(id="j", state=JobState.SUCCESS, result_files=("f",))


async def taken(api):
    return [each.custom_id async for each in api.results(JOB)]


async def test_a_download_that_is_cut_goes_on_where_it_was(connect):
    async with Shelf(rows(5000)) as shelf:
        shelf.script = [shelf.cut, shelf.rest]
        assert len(await taken(connect(shelf.base_url))) == 5000
        assert shelf.asked == [None, len(shelf.content) // 2]


async def test_whoever_has_seen_enough_leaves_no_file_behind(connect, tmp_path, monkeypatch):
    opened = []
    make = tempfile.TemporaryFile

    def kept(*arguments, **options):
        opened.append(make(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", kept)
    async with Shelf(rows(50)) as shelf, aclosing(connect(shelf.base_url).results(JOB)) as results:
        assert (await anext(results)).custom_id == "r0"
        assert not opened[0].closed
    assert opened[0].closed


async def test_where_the_server_knows_no_ranges_it_begins_anew(connect):
    async with Shelf(rows(5000)) as shelf:
        shelf.script = [shelf.cut, shelf.whole]
        assert await taken(connect(shelf.base_url)) == [f"r{n}" for n in range(5000)]


async def test_without_a_size_nothing_is_resumed_and_nothing_compared(connect):
    async with Shelf(rows(50), bytes=None) as shelf:
        shelf.script = [shelf.cut, shelf.whole]
        assert len(await taken(connect(shelf.base_url))) == 50
        assert shelf.asked == [None, None]


async def test_a_card_that_tells_too_much_costs_some_downloads_and_no_result(connect, caplog):
    async with Shelf(rows(50), bytes=77777) as shelf:
        assert len(await taken(connect(shelf.base_url))) == 50
        assert shelf.asked == [None] * MAX_WHOLE_TRIES
        assert "bytes of results came instead of 77777" in caplog.text


async def test_the_key_is_taken_out_of_results(connect):
    async with Shelf(rows(1).replace(b'"n"', f'"{KEY}"'.encode())) as shelf:
        [result] = [each async for each in connect(shelf.base_url).results(JOB)]
        assert result.body == b'{"[key]":0}'


async def test_a_download_packed_twice_is_refused(connect):
    async with Shelf(rows(1)) as shelf:
        shelf.script = [lambda writer, start: shelf.send(writer, b"", content_encoding="gzip, br")]
        with pytest.raises(EndpointError, match="more than once"):
            await taken(connect(shelf.base_url))


async def test_a_call_that_stands_still_is_tried_again(connect):
    async with Shelf(rows(3)) as shelf:
        shelf.script = [silence, shelf.whole]
        assert len(await taken(connect(shelf.base_url, timeout_s=0.2))) == 3


def test_a_line_over_the_bound_becomes_a_result_that_says_so(tmp_path):
    path = tmp_path / "results"
    long = json.dumps({"id": "x", "custom_id": "big", "response": {"body": "y" * 500_000}})
    odd = json.dumps({"response": {"body": "y" * 500_000}})
    path.write_bytes(f"{long}\n\n{odd}\n".encode() + rows(1) + b'{"custom_id": "cu')
    with path.open("rb") as file:
        reader = ResultReader(file, mask=bytes, max_bytes=1000)
        taken = reader.take()
        assert reader.take() == []
    assert [(each.custom_id, each.status) for each in taken] == [("big", OVERLONG), ("r0", 200)]
    assert json.loads(taken[0].body) == {"message": "the reply is larger than 1000 bytes"}
    assert reader.skipped == 2


async def test_results_without_room_are_told_as_such(connect, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    async with Shelf(rows(1)) as shelf:
        with pytest.raises(StorageError, match=r"cannot be kept: No space left"):
            await taken(connect(shelf.base_url))


async def test_results_without_end_are_given_up(connect, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_FILE_BYTES", 1000)
    async with Shelf(rows(5000)) as shelf:
        with pytest.raises(EndpointError, match="more than 1000 bytes"):
            await taken(connect(shelf.base_url))


async def test_an_answer_without_end_is_given_up(connect, monkeypatch):
    monkeypatch.setattr(calls, "MAX_ANSWER_BYTES", 10)
    async with Shelf(b"") as shelf:
        with pytest.raises(EndpointError, match="more than 10 bytes"):
            await connect(shelf.base_url).job("j")


async def test_a_refusal_without_end_is_read_from_its_start(connect, monkeypatch):
    monkeypatch.setattr(calls, "MAX_REFUSAL_BYTES", 100)
    async with Shelf(rows(1)) as shelf:
        shelf.script = [
            lambda writer, start: shelf.send(writer, b"no" * 10_000, status=400),
        ]
        with pytest.raises(EndpointError, match=r"HTTP 400: nono"):
            await taken(connect(shelf.base_url))
        shelf.script = [
            lambda writer, start: shelf.send(writer, b"", status=400, content_encoding="br, br"),
        ]
        with pytest.raises(EndpointError, match=r"HTTP 400\)"):
            await taken(connect(shelf.base_url))


async def test_a_server_that_repeats_the_key_is_not_quoted_with_it(connect):
    async with Shelf(b"", error=f"who is {KEY}?") as shelf:
        shelf.script = [
            lambda writer, start: shelf.send(writer, f"no {KEY} here".encode(), status=401)
        ]
        api = connect(shelf.base_url)
        with pytest.raises(AccessError, match=r"401: no \[key\] here"):
            await taken(api)
        with pytest.raises(RunError, match=r"no batch job: .*who is \[key\]"):
            await api.job("j")


async def test_carried_results_are_read_also_with_half_a_character_in_them(connect):
    row = {"custom_id": "a", "response": {"status_code": 200, "body": {"text": "\ud83d"}}}
    async with Shelf(b"", outputs=[row, "odd"]) as shelf:
        results = connect(shelf.base_url).results(Job(id="j", state=JobState.SUCCESS))
        assert [each.body async for each in results] == [rb'{"text": "\ud83d"}']
    async with Shelf(b"", outputs=7) as shelf:
        results = connect(shelf.base_url).results(Job(id="j", state=JobState.SUCCESS))
        assert [each async for each in results] == []


async def test_a_fault_in_a_line_that_there_is_not_has_no_mark(connect, tmp_path):
    async def refuse(request):
        errors = [{"message": "odd", "line_number": number} for number in (0, -1, 99)]
        return JSONResponse({"detail": "no", "errors": errors}, 422)

    app = Starlette(routes=[Route("/v1/files", refuse, methods=["POST"])])
    api = client(httpx.ASGITransport(app), Time())
    path = tmp_path / "in.jsonl"
    path.write_bytes(api.line("a", body()))
    with pytest.raises(RefusedFileError, match="line 0: odd") as refused:
        await api.upload(path, "in.jsonl")
    assert {fault.custom_id for fault in refused.value.faults} == {""}
