"""What is known of object stores and other file systems behind a URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Those in which a folder's first part is a bucket, which somebody has made on purpose.
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "r2", "b2"})
_EXTRA = {"s3": "s3", "s3a": "s3"}
_KEYS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


def extra_for(location: str) -> str:
    """What to add where the package for a URL is missing; "" where no extra brings it."""
    extra = _EXTRA.get(location.partition("://")[0].lower())
    return f"; pip install -c constraints.txt '.[{extra}]' brings it" if extra else ""


def version_of(info: Mapping[str, Any]) -> str:
    """The ETag, or else the time of change, as fsspec gives them; "" where neither is told."""
    seen = next((info[key] for key in _KEYS if info.get(key)), "")
    return seen.isoformat() if isinstance(seen, datetime) else str(seen).strip('"')
