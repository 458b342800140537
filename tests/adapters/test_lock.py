"""One writer at a time: a lock of the operating system, and one that beats in an object store."""

import errno
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from vision_pipeline.adapters.lock import HeartbeatLock, NoLocksError, ProcessLock
from vision_pipeline.adapters.lock.heartbeat import BEAT_S, OBJECT_NAME, SILENT_S
from vision_pipeline.adapters.lock.process import OWNER_NAME
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.owner import Owner

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def owner(mark="mine", **more):
    return Owner(host="here", pid=1, work="run of x", since=NOW, mark=mark, **more)


# --- on a disk


def test_a_second_taker_is_told_who_was_first(tmp_path):
    first, second = ProcessLock(tmp_path), ProcessLock(tmp_path)
    assert first.try_take(owner("a")) is None
    first.tell(owner("a", run_id="r1"))
    assert second.try_take(owner("b")) == owner("a", run_id="r1")
    first.release()
    assert second.try_take(owner("b")) is None
    second.release()


def test_a_released_folder_names_nobody(tmp_path):
    lock = ProcessLock(tmp_path)
    lock.try_take(owner())
    lock.release()
    assert not (tmp_path / OWNER_NAME).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]"])
def test_an_owner_that_has_not_said_its_name_yet_holds_all_the_same(tmp_path, content):
    lock = ProcessLock(tmp_path)
    lock.try_take(owner())
    (tmp_path / OWNER_NAME).write_bytes(content)
    assert ProcessLock(tmp_path).try_take(owner("b")).work == "another command"
    lock.release()


HOLD = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from vision_pipeline.adapters.lock import ProcessLock
from vision_pipeline.core.owner import Owner
lock = ProcessLock(Path(sys.argv[1]))
print(lock.try_take(Owner("there", 7, "run of y", datetime.now(UTC), mark="t")), flush=True)
sys.stdin.read()
"""


def test_a_killed_process_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "None\n"
        lock = ProcessLock(tmp_path)
        assert lock.try_take(owner()).work == "run of y"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert (tmp_path / OWNER_NAME).exists()
    assert lock.try_take(owner()) is None
    lock.release()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OutputError, match=r"\.lock: cannot be locked"):
        ProcessLock(tmp_path).try_take(owner())


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks")])
def test_a_file_system_without_locks_is_told_from_one_that_refuses(tmp_path, error):
    lock = ProcessLock(tmp_path)

    def acquire():
        raise error

    lock._lock.acquire = acquire
    with pytest.raises(NoLocksError):
        lock.try_take(owner())


# --- behind a URL


class Clock:
    """A clock that stands still, and goes on when somebody waits."""

    def __init__(self):
        self.now = NOW
        self.during_pause = lambda: None

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.during_pause()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    return OutputFolder(f"memory:/{tmp_path}/out")


def lock_on(folder, clock):
    return HeartbeatLock(folder, now=clock, pause=clock.pause)


def test_a_beating_owner_keeps_others_out(folder, clock):
    first, second = lock_on(folder, clock), lock_on(folder, clock)
    assert first.try_take(owner("a")) is None
    first.tell(owner("a", run_id="r1"))
    clock.pause(SILENT_S - 1)
    assert second.try_take(owner("b")) == owner("a", run_id="r1", beat_at=NOW)
    assert first.beat() is None
    clock.pause(SILENT_S - 1)
    assert second.try_take(owner("b")).mark == "a"
    first.release()
    assert second.try_take(owner("b")) is None


def test_a_silent_owner_is_taken_over_and_told_so(folder, clock):
    first, second = lock_on(folder, clock), lock_on(folder, clock)
    first.try_take(owner("a"))
    clock.pause(SILENT_S)
    assert second.try_take(owner("b")) is None
    assert first.beat().mark == "b"
    first.tell(owner("a", run_id="r1"))
    first.release()
    assert orjson.loads(folder.read_bytes(OBJECT_NAME))["mark"] == "b"


def test_an_owner_whose_clock_is_slow_is_not_taken_over(folder, clock):
    first, second = lock_on(folder, clock), lock_on(folder, clock)
    first.try_take(owner("a"))
    clock.pause(10 * SILENT_S)
    clock.during_pause = first.beat
    assert second.try_take(owner("b")).mark == "a"
    assert first.beat() is None


def test_of_two_that_find_it_free_at_once_one_takes_it(folder, clock):
    first, second = lock_on(folder, clock), lock_on(folder, clock)
    read = second._read
    second._read = lambda: None  # as it was before the first one wrote
    first.try_take(owner("a"))
    seen = second.try_take(owner("b"))
    second._read = read
    assert seen.work == "another command"
    assert first.beat() is None
    assert second.try_take(owner("b")).mark == "a"


def test_a_lock_that_somebody_removed_is_written_again(folder, clock):
    lock = lock_on(folder, clock)
    lock.try_take(owner("a"))
    folder.filesystem.rm_file(folder.path(OBJECT_NAME))
    assert lock.beat() is None
    assert lock_on(folder, clock).try_take(owner("b")).mark == "a"


def test_a_store_that_is_away_for_a_moment_takes_nothing_from_anybody(folder, clock):
    lock = lock_on(folder, clock)
    lock.try_take(owner("a"))
    folder.filesystem.pipe_file(folder.path(OBJECT_NAME), b"half a")
    assert lock.beat() is None


def test_what_is_no_lock_is_named(folder, clock):
    folder.filesystem.pipe_file(folder.path(OBJECT_NAME), b"mine")
    with pytest.raises(OutputError, match=r"\.lock\.json: cannot be locked.*remove it"):
        lock_on(folder, clock).try_take(owner())


def test_the_first_beat_finds_out_that_the_lock_is_lost(folder, clock, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.lock.heartbeat.FIRST_BEAT_S", 0.0)
    first, second = lock_on(folder, clock), lock_on(folder, clock)
    first.try_take(owner("a"))
    clock.pause(SILENT_S)
    second.try_take(owner("b"))
    lost, takers = threading.Event(), []
    first.keep(lambda taker: (takers.append(taker.mark), lost.set()))
    assert lost.wait(30)
    assert takers == ["b"]
    first.release()


def test_a_lock_that_is_kept_ends_with_its_release(folder, clock):
    lock = lock_on(folder, clock)
    lock.try_take(owner("a"))
    lock.keep(lambda _: pytest.fail("nobody took it"))
    lock.release()
    assert not folder.exists(OBJECT_NAME)


class Plain:
    """A file system of few words."""

    def __init__(self):
        self.content = None

    def invalidate_cache(self):
        pass

    def cat_file(self, path):
        if self.content is None:
            raise FileNotFoundError(path)
        return self.content

    def pipe_file(self, path, value):
        self.content = value


def test_a_store_that_cannot_create_objects_exclusively_is_locked_all_the_same(clock):
    class Folder:
        filesystem = Plain()

        def path(self, name):
            return name

    assert lock_on(Folder(), clock).try_take(owner("a")) is None
    assert lock_on(Folder(), clock).try_take(owner("b")).mark == "a"


def test_beats_are_more_often_than_silence_is_death():
    assert 3 * BEAT_S < SILENT_S
