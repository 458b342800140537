"""What the image column of a manifest may hold, and where it leads."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import scheme_of
from vision_pipeline.adapters.sources.local_folder import local_image
from vision_pipeline.core.addresses import without_credentials

_DATA_SCHEME = "data:"
_WEB_SCHEMES = frozenset({"http", "https"})
_DATA_ID_DIGITS = 16
_PAGE = re.compile(r"#page=(0|[1-9][0-9]{0,8})")


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

        A value that ends in `#page=3` names that page, unless there is a local file of just this
        name. A local file that is missing is found without size and version, and no value with an
        empty URI: either becomes an error row, when it is read.
        """
        if not value:
            return Found("", "")
        if value[: len(_DATA_SCHEME)].lower() == _DATA_SCHEME:
            return Found(_DATA_SCHEME + sha256(value.encode()).hexdigest()[:_DATA_ID_DIGITS], value)
        if scheme_of(value) in _WEB_SCHEMES:
            # It is not fetched with them anyway, and stands in tables from here on.
            value = without_credentials(value)
        bare, page = _without_page(value)
        if page is None:
            return self._leading_to(value, value)
        if scheme_of(value) is None:
            literal = self._leading_to(value, value)
            if literal.size_bytes is not None:
                return literal
        return replace(self._leading_to(bare, value), page=page)

    def _leading_to(self, location: str, item_id: str) -> Found:
        scheme = scheme_of(location)
        if scheme == "file":
            return local_image(path_of(location), item_id)
        if scheme is not None:
            return Found(without_credentials(item_id), location)
        if location.startswith("/"):
            return local_image(location, item_id)
        if self._remote_folder is not None:
            return Found(item_id, f"{self._remote_folder}/{location}")
        return local_image(f"{self._local_folder}/{location.removeprefix('./')}", item_id)


def path_of(url: str) -> str:
    """The local path of a `file:` URL, whatever bytes it is made of."""
    return unquote_to_bytes(urlsplit(url).path).decode(errors="surrogateescape")


def _without_page(value: str) -> tuple[str, int | None]:
    bare, mark, _ = value.rpartition("#")
    found = _PAGE.fullmatch(value, len(bare)) if mark and bare else None
    return (bare, int(found[1])) if found else (value, None)
