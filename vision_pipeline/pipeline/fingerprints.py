"""What tells a changed item from the same one without reading its images."""

from __future__ import annotations

import hashlib

import orjson
import pyarrow as pa

from vision_pipeline.core.errors import SourceError

FINGERPRINT = pa.field("_fingerprint", pa.string())


def fingerprints(batch: pa.RecordBatch) -> pa.StringArray:
    """A digest of all that the source says of each item.

    Raises:
        SourceError: A value of the manifest cannot be read.
    """
    try:
        prints = [
            hashlib.blake2b(orjson.dumps(record, default=str), digest_size=16).hexdigest()
            for record in batch.to_pylist()
        ]
    except (ValueError, TypeError, OverflowError, KeyError, pa.ArrowException) as error:
        # Such as a date before the year 1, or bytes that are no text.
        raise SourceError(f"a value of the manifest cannot be read: {error}") from error
    return pa.array(prints, FINGERPRINT.type)
