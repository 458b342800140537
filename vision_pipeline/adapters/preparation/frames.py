"""The messages between a run and its workers: a JSON head and bytes, each after its length.

No pickle: what comes from a process that decodes hostile files is data and nothing else.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import orjson

NO_MEMORY = 71  # exit code of a worker that cannot even take a task or give a reply

_LENGTHS = struct.Struct(">IQ")


def write_frame(stream: BinaryIO, head: dict[str, Any], data: bytes = b"") -> None:
    """Write one message.

    Raises:
        OSError: Nobody reads any more.
    """
    encoded = orjson.dumps(head)
    stream.write(_LENGTHS.pack(len(encoded), len(data)) + encoded)
    stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message, or None where the other side ended."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, data_bytes = _LENGTHS.unpack(lengths)
    head, data = stream.read(head_bytes), stream.read(data_bytes)
    if len(head) < head_bytes or len(data) < data_bytes:
        return None
    return orjson.loads(head), data
