"""The images of a report, as those of a run are read and decoded."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import ImageRef
from vision_pipeline.results.pictures import shown_settings
from vision_pipeline.wiring.pictures import open_pictures

SETTINGS = shown_settings(max_bytes=40_000)


def png():
    written = io.BytesIO()
    Image.effect_noise((1600, 900), 80).convert("RGB").save(written, "PNG")
    return written.getvalue()


def test_files_and_members_of_archives_and_tables_are_drawn_within_their_bounds(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.png", "a.png")
    pq.write_table(pa.table({"image": [png()]}), tmp_path / "a.parquet")
    uris = ["{}/a.png", "tar://a.png::{}/a.tar", "parquet://image/0::{}/a.parquet"]
    with open_pictures(SETTINGS) as draw:
        drawn = [draw(ImageRef(uri.format(tmp_path))) for uri in uris]
    for image in drawn:
        assert (image.media_type, len(image.data) <= 40_000) == ("image/jpeg", True)
        assert max(image.width_px, image.height_px) <= 1200


def test_a_damaged_image_costs_its_picture_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(png()[:500])
    (tmp_path / "b.png").write_bytes(png())
    with open_pictures(SETTINGS) as draw:
        with pytest.raises(ItemError, match="damaged PNG"):
            draw(ImageRef(str(tmp_path / "a.png")))
        assert draw(ImageRef(str(tmp_path / "b.png"))).data


@pytest.mark.parametrize(("fetch", "told"), [(False, "--fetch shows it"), (True, "private")])
def test_the_web_is_left_alone_unless_asked_and_private_addresses_always(fetch, told):
    with (
        open_pictures(SETTINGS, fetch=fetch) as draw,
        pytest.raises(ItemError, match=told) as caught,
    ):
        draw(ImageRef("http://127.0.0.1:9/a.png"))
    assert caught.value.code is ErrorCode.BLOCKED_URL
