"""The nouns: what the table's columns are called, and what never shows in a message."""

from datetime import UTC, datetime

import pytest

from vision_pipeline.core.records import (
    RESERVED_COLUMNS,
    Amount,
    ImageRef,
    Item,
    PreparedImage,
    ReceivedReply,
    VisionReply,
)

DOCUMENTED = """
item_id image_uri image_sha256 image_bytes image_format image_width_px image_height_px
image_note image_version
sent_width_px sent_height_px sent_bytes images
status error_code error_detail
reply_text finish_reason attempts repaired
provider model prompt prompt_version question_sha256 idempotency_key
prompt_tokens completion_tokens cached_tokens estimated_tokens cost_usd mode from_ledger
queued_s latency_s answered_at run_id shard
"""


def test_the_pipelines_own_columns_are_the_documented_ones():
    assert set(RESERVED_COLUMNS) == set(DOCUMENTED.split())


def test_image_bytes_never_show_in_a_message():
    image = PreparedImage("ab", 3, "JPEG", 2, 1, "image/jpeg", b"secret", 2, 1)
    assert "secret" not in repr(image)


def test_reply_bytes_never_show_in_a_message():
    reply = ReceivedReply(b"secret", 1, 0.0, 0.1, datetime(2026, 11, 22, tzinfo=UTC))
    assert "secret" not in repr(reply)


def test_amounts_add_up_and_parts_of_a_token_count_as_one():
    assert Amount(1.0, 2) + Amount(0.5, 3) - Amount(0.25, 1) == Amount(1.25, 4)
    assert Amount(1.0, 3) * 1.5 == Amount(1.5, 5)


def test_a_reply_that_nobody_counted_has_no_number_of_tokens():
    assert VisionReply("a", "stop", "m", 100, 10, 90).tokens == 110
    assert VisionReply("a", "stop", "m", 0, 0, 0).tokens is None


def test_records_do_not_change():
    item = Item(item_id="a", images=(ImageRef("a.jpg"),))
    with pytest.raises(AttributeError):
        item.item_id = "b"


def test_items_share_no_columns():
    one, other = (Item(item_id=name, images=()) for name in "ab")
    assert one.columns == {}
    assert one.columns is not other.columns
