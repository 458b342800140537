"""A Prefect server with SQLite on this machine, of which one sees what it costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil

from tests.benchmarks.recipes import BIN

START_S = 120  # on a busy machine
SETTLED_S = 10.0  # without growth: it writes events in batches, some seconds late


class PrefectServer:
    """A server with SQLite, which may be killed and started anew."""

    def __init__(self, scratch: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{self._port}/api"
        self._home = scratch / "prefect"
        home = {
            "PREFECT_HOME": str(self._home),
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
        }
        self._own = os.environ | home
        self.environment = home | {"PREFECT_API_URL": self._url}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrefectServer:
        self.be(is_up=True)
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self._url}/health").close()
                return self
            time.sleep(0.5)
        self.be(is_up=False)
        raise TimeoutError(f"no Prefect server within {START_S} s")

    def __exit__(self, *_: object) -> None:
        self.be(is_up=False)

    def be(self, *, is_up: bool) -> None:
        """Start it, or kill it, where it is not so already."""
        if is_up and self._process is None:
            command = [str(BIN / "prefect"), "server", "start", "--port", str(self._port)]
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(
                command, env=self._own, start_new_session=True, **pipes
            )
        elif not is_up and self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def task_runs(self) -> int:
        """How many it has recorded."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/task_runs/count", b"{}", headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def cpu_s(self) -> float:
        """CPU time since it was started."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(each.user + each.system for each in times)

    def memory_mb(self) -> float:
        """What it has in memory now."""
        return sum(process.memory_info().rss for process in self._processes()) / 2**20

    def database_mb(self) -> float:
        """Its database, with what is in the write-ahead log and without free pages."""
        with closing(sqlite3.connect(self._home / "prefect.db")) as database:
            values = (
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            pages, free, page_bytes = values
        return (pages - free) * page_bytes / 2**20

    def settle(self) -> None:
        """Wait until what a run has sent is in the database."""
        before, now = -1.0, self.database_mb()
        while now != before:
            time.sleep(SETTLED_S)
            before, now = now, self.database_mb()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]
