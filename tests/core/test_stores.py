from datetime import UTC, datetime

import pytest

from vision_pipeline.core.stores import extra_for, version_of

MOMENT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"ETag": '"abc"', "LastModified": MOMENT}, "abc"),
        ({"ETag": "", "LastModified": MOMENT}, MOMENT.isoformat()),
        ({"mtime": 12.5}, "12.5"),
        ({"size": 3}, ""),
    ],
)
def test_the_etag_goes_before_the_time_of_change(info, version):
    assert version_of(info) == version


def test_a_missing_package_that_an_extra_brings_is_named():
    assert "'.[s3]'" in extra_for("S3://bucket/key")
    assert extra_for("gs://bucket/key") == ""
    assert extra_for("folder/key") == ""
