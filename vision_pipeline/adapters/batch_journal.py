"""Where the parts of runs by batches are noted: one `batches/<run_id>/part-0001.json` each."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any, BinaryIO, Protocol

import orjson

from vision_pipeline.core.batch_parts import Part, from_document, to_document
from vision_pipeline.core.errors import OutputError, StorageError

_FOLDER = "batches"
_WHOLE = "whole.json"


class Folder(Protocol):
    """What the journal needs of the output folder."""

    @property
    def filesystem(self) -> Any:  # noqa: ANN401, D102
        ...
    def path(self, name: str) -> str: ...  # noqa: D102
    def shown(self, name: str) -> str: ...  # noqa: D102
    def create(self, name: str) -> AbstractContextManager[BinaryIO]: ...  # noqa: D102
    def read_bytes(self, name: str) -> bytes: ...  # noqa: D102
    def names(self, folder: str) -> list[str]: ...  # noqa: D102


class BatchJournal:
    """Notes each step of each part; what it has written is safe."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def run_ids(self) -> list[str]:
        """All runs that are noted here, oldest first."""
        return self._folder.names(_FOLDER)

    def parts(self, run_id: str) -> list[Part]:
        """Those of a run, in order.

        Raises:
            OutputError: One is damaged; names the file.
        """
        names = self._folder.names(f"{_FOLDER}/{run_id}")
        parts = [self._read(run_id, name) for name in names if name.startswith("part-")]
        return sorted(parts, key=lambda part: part.number)

    def write(self, run_id: str, part: Part) -> None:
        """Write or replace one."""
        with self._folder.create(_name(run_id, part)) as file:
            file.write(orjson.dumps(to_document(part), option=orjson.OPT_INDENT_2))

    def drop(self, run_id: str, part: Part) -> None:
        """Forget one that never reached the provider."""
        self._remove(_name(run_id, part))

    def is_whole(self, run_id: str) -> bool:
        """Whether all that is to be asked is in parts."""
        return _WHOLE in self._folder.names(f"{_FOLDER}/{run_id}")

    def mark_whole(self, run_id: str, *, whole: bool) -> None:
        """Note whether all that is to be asked is in parts."""
        name = f"{_FOLDER}/{run_id}/{_WHOLE}"
        if not whole:
            self._remove(name)
            return
        with self._folder.create(name) as file:
            file.write(b"{}")

    def forget(self, run_id: str) -> None:
        """Forget a run that is finished."""
        filesystem = self._folder.filesystem
        with suppress(FileNotFoundError):
            filesystem.rm(self._folder.path(f"{_FOLDER}/{run_id}"), recursive=True)

    def _read(self, run_id: str, name: str) -> Part:
        name = f"{_FOLDER}/{run_id}/{name}"
        try:
            return from_document(orjson.loads(self._folder.read_bytes(name)))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            shown = self._folder.shown(name)
            raise OutputError(
                f"{shown}: cannot be read: {error}; it tells which requests are with the provider: "
                "restore it, or delete it and pay for them again"
            ) from error

    def _remove(self, name: str) -> None:
        try:
            self._folder.filesystem.rm_file(self._folder.path(name))
        except FileNotFoundError:
            return
        except Exception as error:  # each backend has its own
            raise StorageError(f"{self._folder.shown(name)}: cannot be deleted: {error}") from error


def _name(run_id: str, part: Part) -> str:
    return f"{_FOLDER}/{run_id}/part-{part.number:04}.json"
