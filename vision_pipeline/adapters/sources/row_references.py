"""Rows of a Parquet file as references, where the file holds the images' own bytes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import connect, scheme_of
from vision_pipeline.adapters.sources.local_folder import local_image
from vision_pipeline.adapters.sources.remote_folder import remote_image
from vision_pipeline.adapters.sources.tables import is_packed
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import Member, damaged_from, is_chain, readable


class RowReferences:
    """Names the rows of one file; their version is the file's, since a row has none of its own.

    Whether a row has bytes is not known without reading them: of one that has none, the reader
    follows the path beside it.

    Args:
        manifest: Local path or URL of the Parquet file.
        column: Its column of bytes.

    Raises:
        SourceError: The file is compressed as a whole, or its name cannot stand in a reference.
    """

    def __init__(self, manifest: str, column: str) -> None:
        if is_packed(manifest):
            raise SourceError(f"{manifest}: unpack it first: its images are read from the file")
        file = _listed(manifest)
        if is_chain(file.uri):
            advice = "copy it out and rename it" if scheme_of(manifest) else "rename it"
            raise SourceError(
                f"{manifest}: images cannot be read out of a name with '::'; {advice}"
            )
        self._column = column
        self._container = file.uri
        self._version = file.version
        self._name = readable(PurePosixPath(manifest.partition("?")[0]).name)

    def damaged(self, row: int) -> Found:
        """What stands for the rows from one on, which cannot be told; reading it fails."""
        name = damaged_from(f"row {row}")
        uri = Member("parquet", f"{self._column}/{name}", self._container).uri
        return Found(f"{self._name}/{name}", uri, version=self._version)

    def found(self, row: int, path: str | None) -> Found:
        """The image of a row.

        Args:
            row: Counted from 0 over the whole file.
            path: What the row says of its origin: the id, where it is not empty.
        """
        uri = Member("parquet", f"{self._column}/{row}", self._container).uri
        return Found(path or f"{self._name}#row={row}", uri, version=self._version)


def _listed(manifest: str) -> Found:
    if scheme_of(manifest) is None:
        return local_image(str(Path(manifest).absolute()), "")
    file_system, path = connect(manifest)
    if scheme_of(manifest) == "file":
        return local_image(path, "")
    try:
        found = remote_image(file_system, file_system.info(path), "")
    except Exception as error:  # each backend has its own
        raise SourceError(f"{manifest}: cannot be listed: {error}") from error
    # As it was given: a file system of the web or of a chain knows only a part of its own URL.
    return Found("", manifest, found.size_bytes, found.version)
