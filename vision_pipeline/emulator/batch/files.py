"""Files in a folder of the disk, which is gone when the emulator has ended."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Literal
from uuid import UUID

from vision_pipeline.emulator.problems import detail_error

SampleType = Literal["batch_request", "batch_result", "batch_error"]

MIMETYPE = "application/jsonl"
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """Lines on the disk.

    Attributes:
        path: The file.
        starts: Where each line begins, in bytes; blank ones are none.
        size_bytes: Of the file.
        digest: Of its bytes, 8 long.
    """

    path: Path
    starts: array[int]
    size_bytes: int
    digest: bytes

    def line(self, number: int) -> bytes:
        """The line of that number, counted from 0.

        Raises:
            FileNotFoundError: The file was deleted.
        """
        with self.path.open("rb") as file:
            file.seek(self.starts[number])
            return file.readline()

    def rows(self) -> Iterator[bytes]:
        """All lines."""
        with self.path.open("rb") as file:
            yield from file

    def pieces(self, copies: float = 1.0) -> Iterator[bytes]:
        """The bytes so many times over; 0.5 is the first half."""
        left = round(self.size_bytes * copies)
        while left:
            with self.path.open("rb") as file:
                while left and (piece := file.read(min(left, _PIECE_BYTES))):
                    left -= len(piece)
                    yield piece


class Draft:
    """A file that is being written; open only while lines are added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts: array[int] = array("Q")
        self._digest = hashlib.blake2b(digest_size=8)
        self._size_bytes = 0

    def extend(self, lines: Iterable[bytes]) -> None:
        """Add lines as they are, their ends included."""
        with self.path.open("ab") as file:
            for line in lines:
                file.write(line)
                if not line.isspace():
                    self._starts.append(self._size_bytes)
                self._digest.update(line)
                self._size_bytes += len(line)

    def content(self) -> Content:
        """What was written; nothing is to be added from then on."""
        return Content(self.path, self._starts, self._size_bytes, self._digest.digest())

    def discard(self) -> None:
        """Take it back."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the API knows.

    Attributes:
        file_id: A UUID.
        name: As its uploader called it.
        content: Its lines.
        sample_type: What a line is.
        created_at_s: Seconds of the epoch.
        expires_at_s: Seconds of the epoch; None if it stays.
        gone_s: The same on the emulator's clock, where hours may be shorter.
        visibility: Whom its uploader lets see it.
    """

    file_id: str
    name: str
    content: Content
    sample_type: SampleType
    created_at_s: int
    expires_at_s: int | None = None
    gone_s: float = math.inf
    visibility: str = "workspace"

    @property
    def source(self) -> str:
        """Who made it."""
        return "upload" if self.sample_type == "batch_request" else "mistral"

    def as_json(self) -> dict[str, Any]:
        """Its card, as the API shows it."""
        return {
            "id": self.file_id,
            "object": "file",
            "bytes": self.content.size_bytes,
            "created_at": self.created_at_s,
            "filename": self.name,
            "purpose": "batch",
            "sample_type": self.sample_type,
            "num_lines": len(self.content.starts),
            "mimetype": MIMETYPE,
            "source": self.source,
            "signature": self.content.digest.hex(),
            "expires_at": self.expires_at_s,
            "visibility": self.visibility,
        }


class FileStore:
    """All files of one emulator.

    Args:
        seed: Decides the ids.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._files: dict[str, StoredFile] = {}
        self._folder: Path | None = None
        self._ids = self._first_ids()

    def draft(self) -> Draft:
        """An empty file."""
        return Draft(self._made_folder() / self.new_id())

    def new_id(self) -> str:
        """A UUID that no other file has."""
        return str(UUID(int=self._ids.getrandbits(128), version=4))

    def add(self, file: StoredFile) -> None:
        """Let the API know a file."""
        self._files[file.file_id] = file

    def find(self, file_id: str, now_s: float) -> StoredFile:
        """The file of that id.

        Raises:
            RefusalError: 404; there is none, or no more.
        """
        file = self._files.get(file_id)
        if file is None or file.gone_s <= now_s:
            # The status was seen, the words are inferred.
            raise detail_error(HTTPStatus.NOT_FOUND, f"File {file_id} not found")
        return file

    def living(self, now_s: float) -> list[StoredFile]:
        """All files, newest first."""
        return [file for file in reversed(self._files.values()) if file.gone_s > now_s]

    def remove(self, file: StoredFile) -> None:
        """Delete a file."""
        del self._files[file.file_id]
        file.content.path.unlink(missing_ok=True)

    def reset(self) -> None:
        """Delete all, as after the start."""
        self._files.clear()
        self._ids = self._first_ids()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _first_ids(self) -> Random:
        return Random(f"{self._seed}:files")

    def _made_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="emulator-files-"))
            # At the end of this store or of the process, whichever comes first.
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
