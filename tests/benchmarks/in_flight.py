"""What a request costs the client at many in flight, and whether memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from PIL import Image

from tests.benchmarks.report import section, table

FEW, MANY = 300, 1500
LATENCY_S = 0.5
NAMES = {
    "ready-256": "aiohttp alone, bodies made before",
    "bare-256": "bare aiohttp loop",
    "structure-256": "the product, verify: structure",
}
MEMORY_ITEMS = (1_000, 100_000)


def in_flight(rounds: int) -> str:
    """1,500 requests of 250 kB, 256 in flight, 0.5 s latency, client and server on a core each.

    CPU time of a request is the difference to 300 requests, so that start-up does not count.
    Everything is on: reading, metadata cut, hashing, base64, ledger, Parquet.
    """
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as scratch, serving(LATENCY_S) as base_url:
        folder = Path(scratch)
        draw(folder, MANY)
        for _ in range(rounds):
            for name in NAMES:
                few, many = (
                    client(name, folder, base_url, count)["cpu_s"] for count in (FEW, MANY)
                )
                found[name].append((many - few) / (MANY - FEW) * 1000)
    rows = []
    for name, costs in found.items():
        ratios = (
            median(cost / floor for cost, floor in zip(costs, found[base]))
            for base in ("ready-256", "bare-256")
        )
        shown = (f"{median(costs):.2f}", *(f"{ratio:.1f}" for ratio in ratios))
        rows.append((NAMES[name], *shown, f"{min(costs):.2f}"))
    head = ("", "CPU ms a request", "ratio to aiohttp alone", "ratio to bare", "least CPU ms")
    return section("256 in flight", rounds, in_flight.__doc__ or "", table(head, rows))


def memory(rounds: int) -> str:
    """Peak memory of whole `run` commands over 1,000 and over 100,000 items of a CSV manifest.

    The images are `data:` URLs of distinct tiny PNGs: what grows with the number of items would
    show. A server without latency answers, so that the log of a quota's window fills too.
    """
    peaks: dict[int, list[float]] = {items: [] for items in MEMORY_ITEMS}
    with tempfile.TemporaryDirectory() as scratch, serving(0.0) as base_url:
        for items in MEMORY_ITEMS:
            write_manifest(Path(scratch) / f"{items}.csv", items)
        for _ in range(rounds):
            for items, found in peaks.items():
                manifest = Path(scratch) / f"{items}.csv"
                found.append(client("command", manifest, base_url, items)["peak_mb"])
    least = median(peaks[MEMORY_ITEMS[0]])
    rows = [
        (
            f"{items:,}",
            f"{median(found):.0f}",
            f"{min(found):.0f} to {max(found):.0f}",
            f"{median(found) / least:.2f}",
        )
        for items, found in peaks.items()
    ]
    head = ("items", "peak MB", "from, to", "ratio")
    return section("Memory", rounds, memory.__doc__ or "", table(head, rows))


@contextmanager
def serving(latency_s: float) -> Iterator[str]:
    """The base URL of a server that parses nothing, on the last core."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(latency_s)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.stdin.close()


def client(name: str, source: Path, base_url: str, count: int) -> dict[str, float]:
    """One client on the first core: what it cost."""
    command = [sys.executable, "-m", "tests.benchmarks.clients", name]
    command += [str(source), base_url, str(count)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout)


def draw(folder: Path, count: int) -> None:
    """JPEGs of noise of about 188 kB, which is 250 kB as base64; no two alike."""
    noise = Image.effect_noise((960, 720), 40).convert("RGB")
    for number in range(count):
        for bit in range(11):
            colour = (255, 255, 255) if number >> bit & 1 else (0, 0, 0)
            noise.paste(colour, (32 * bit, 0, 32 * bit + 32, 32))
        noise.save(folder / f"{number:04}.jpg", quality=40)


def write_manifest(path: Path, items: int) -> None:
    """A CSV of images of 2 by 2 px in `data:` URLs, no two alike."""
    import base64
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    with path.open("w") as file:
        file.write("image\n")
        for number in range(items):
            row = b"\0" + number.to_bytes(3, "big") + b"\0\0\0"
            png = b"\x89PNG\r\n\x1a\n" + head
            png += chunk(b"IDAT", zlib.compress(row + row)) + chunk(b"IEND", b"")
            file.write(f'"data:image/png;base64,{base64.b64encode(png).decode()}"\n')
