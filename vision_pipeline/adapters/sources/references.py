"""What the image column of a manifest may hold, and where it leads."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import scheme_of
from vision_pipeline.adapters.sources.local_folder import local_image

_DATA_SCHEME = "data:"
_DATA_ID_DIGITS = 16


class References:
    """Reads image values relative to the folder in which their manifest lies.

    Args:
        manifest: Local path or URL of the manifest.
    """

    def __init__(self, manifest: str) -> None:
        self._remote_folder = manifest.rpartition("/")[0] if scheme_of(manifest) else None
        self._local_folder = str(Path(manifest).absolute().parent).rstrip("/")

    def found(self, value: str | None) -> Found:
        """The image that a value names, under the value as its id.

        A local file that is missing is found without size and version, and no value with an empty
        URI: either becomes an error row, when it is read.
        """
        if not value:
            return Found("", "")
        if value[: len(_DATA_SCHEME)].lower() == _DATA_SCHEME:
            return Found(_DATA_SCHEME + sha256(value.encode()).hexdigest()[:_DATA_ID_DIGITS], value)
        scheme = scheme_of(value)
        if scheme == "file":
            return local_image(path_of(value), value)
        return self._by_path(value) if scheme is None else Found(value, value)

    def _by_path(self, value: str) -> Found:
        if value.startswith("/"):
            return local_image(value, value)
        if self._remote_folder is not None:
            return Found(value, f"{self._remote_folder}/{value}")
        return local_image(f"{self._local_folder}/{value.removeprefix('./')}", value)


def path_of(url: str) -> str:
    """The local path of a `file:` URL, whatever bytes it is made of."""
    return unquote_to_bytes(urlsplit(url).path).decode(errors="surrogateescape")
