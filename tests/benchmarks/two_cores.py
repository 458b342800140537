"""Whether preparing photos on two cores is twice as fast as on one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from statistics import median

from tests.benchmarks import photos
from tests.benchmarks.report import section, table
from vision_pipeline.adapters.preparation.preparer import Preparer
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import prepare
from vision_pipeline.core.records import SourceImage

SETTINGS = ImageSettings()
PHOTOS = 40
_TICKS_A_SECOND = 100  # of /proc/stat

_Work = Callable[[list[bytes]], None]


def two_cores(rounds: int) -> str:
    """40 photos of 10 megapixels: one worker bound to one core, and two workers on two.

    Processes get a file by a pipe and give back what is to be sent. "Others" is how many cores
    other programs had meanwhile: only where that is near 0 does the ratio tell anything.
    """
    source = photos.jpeg(photos.drawn(), 90)
    found: dict[str, list[list[_Run]]] = {name: [[], []] for name in _POOLS}
    for _ in range(rounds):
        for name, runs in found.items():
            for count in (1, 2):
                with _cores(count):
                    runs[count - 1].append(_measured(name, count, source))
    rows = []
    for name, (ones, twos) in found.items():
        cells = [f"{median(PHOTOS / run.wall_s for run in runs):.1f}" for runs in (ones, twos)]
        cells.append(f"{median(one.wall_s / two.wall_s for one, two in zip(ones, twos)):.2f}")
        cells += [
            f"{median(run.cpu_s / PHOTOS for run in runs) * 1000:.0f}" for runs in (ones, twos)
        ]
        cells += [f"{median(run.others for run in runs):.2f}" for runs in (ones, twos)]
        rows.append((name, *cells))
    head = ("", "photos/s on 1", "on 2", "ratio", "CPU ms a photo on 1", "on 2")
    head += ("others on 1", "on 2")
    return section("Two cores", rounds, two_cores.__doc__, table(head, rows))


class _Run:
    """What one run took, from the first photo given to the last one back."""

    def __init__(self, wall_s: float, cpu_s: float, others: float) -> None:
        self.wall_s, self.cpu_s, self.others = wall_s, cpu_s, others


def _measured(name: str, count: int, source: bytes) -> _Run:
    before = _cpu_s()
    with _POOLS[name](count) as work:
        work([source] * 2 * count)  # start, import, first pages
    start_s = _cpu_s() - before
    before = _cpu_s()
    with _POOLS[name](count) as work:
        work([source] * 2 * count)
        busy, started = _busy_s(), time.monotonic()
        work([source] * PHOTOS)
        wall_s, busy = time.monotonic() - started, _busy_s() - busy
    cpu_s = _cpu_s() - before - start_s  # that of processes is known once they have ended
    return _Run(wall_s, cpu_s, max(busy - cpu_s, 0) / wall_s)


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """Bind what is started in here: the system moves a lone process to and fro, which costs it.

    Where a process cannot be bound (macOS, Windows), nothing happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cpu_s() -> float:
    """CPU time of this process and of its children that ended."""
    spent = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def _busy_s() -> float:
    """CPU time that the machine's cores gave to anybody, or to other machines beside it."""
    with suppress(OSError):
        line = Path("/proc/stat").read_text("ascii").splitlines()[0]
        user, nice, system, _idle, _wait, irq, soft, stolen = map(int, line.split()[1:9])
        return (user + nice + system + irq + soft + stolen) / _TICKS_A_SECOND
    return 0.0


@contextmanager
def _threads(count: int) -> Iterator[_Work]:
    with ThreadPoolExecutor(count) as pool:
        yield lambda sources: _drain(pool, lambda source: prepare(source, SETTINGS), sources)


@contextmanager
def _processes(count: int) -> Iterator[_Work]:
    """Processes with nothing about them: what sending bytes to and fro costs at least."""
    spawn = multiprocessing.get_context("spawn")
    free: SimpleQueue[Connection] = SimpleQueue()
    started = []
    for _ in range(count):
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs,))
        process.start()
        theirs.close()
        started.append((process, ours))
        free.put(ours)

    def one(source: bytes) -> None:
        pipe = free.get()
        pipe.send_bytes(source)
        pipe.recv_bytes()
        free.put(pipe)

    with ThreadPoolExecutor(count) as pool:
        yield lambda sources: _drain(pool, one, sources)
    for process, pipe in started:
        pipe.close()
        process.join()


def _serve(pipe: Connection) -> None:
    with suppress(EOFError):
        while True:
            pipe.send_bytes(prepare(pipe.recv_bytes(), SETTINGS).data)


@contextmanager
def _product(count: int) -> Iterator[_Work]:
    """The product's worker processes, from its event loop."""
    preparer = Preparer(SETTINGS, workers=count)

    async def work(sources: list[bytes]) -> None:
        most = SETTINGS.max_sent_bytes
        calls = (
            preparer.prepare(SourceImage(source), page=None, max_sent_bytes=most)
            for source in sources
        )
        await asyncio.gather(*calls)

    yield lambda sources: asyncio.run(work(sources))
    preparer.close()


def _drain(pool: ThreadPoolExecutor, one: Callable[[bytes], object], sources: list[bytes]) -> None:
    for _ in pool.map(one, sources):
        pass


_POOLS = {"threads": _threads, "bare processes": _processes, "the product's workers": _product}
