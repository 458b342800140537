"""The output folder in an object store: what fails there, and who holds it."""

from datetime import UTC, datetime

import fsspec
import pytest

from tests.servers import free_port
from vision_pipeline.adapters.lock import HeartbeatLock
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.owner import Owner

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def stored(bucket):
    return f"s3://{bucket}"


def test_a_store_that_goes_away_in_the_middle_is_a_storage_error(stored, monkeypatch):
    folder = OutputFolder(f"{stored}/out")
    folder.check_writable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    away = OutputFolder(f"{stored}/out")
    told = f"{stored}/out/a.bin: cannot be written"
    with pytest.raises(StorageError, match=told), away.create("a.bin") as file:
        file.write(b"content")
    for read in (away.read_bytes, away.names, away.exists):
        with pytest.raises(OutputError, match="cannot be read: Could not connect"):
            read("runs")


def test_of_two_that_take_the_lock_at_once_the_store_lets_one(stored):
    class Blind(HeartbeatLock):
        """Saw the folder free, a moment ago."""

        seen = 0

        def _read(self):
            self.seen += 1
            return None if self.seen == 1 else super()._read()

    folder = OutputFolder(f"{stored}/out")
    owners = [Owner("here", 1, "run of x", NOW, mark=mark) for mark in ("a", "b")]
    first, second = Blind(folder), Blind(folder)
    assert first.try_take(owners[0]) is None
    assert second.try_take(owners[1]).mark == "a"
    first.release()
    assert HeartbeatLock(folder).try_take(owners[1]) is None
