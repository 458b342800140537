"""Images as they are shown, wherever they are."""

import base64
import io
import zipfile

import fsspec
import pytest
from PIL import Image

from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.records import ImageRef
from vision_pipeline.results.pictures import (
    THUMBNAIL_SIDE_PX,
    Thumbnail,
    draw_here,
    references,
    shown_settings,
    shrunk,
    thumbnails,
)

SETTINGS = shown_settings(max_bytes=50_000)


def png(size=(40, 20), **options):
    written = io.BytesIO()
    Image.new("RGB", size, "teal").save(written, **({"format": "PNG"} | options))
    return written.getvalue()


def drawn(uri, page=None):
    return draw_here(ImageRef(uri, page=page), SETTINGS)


def test_a_group_has_the_images_of_its_list_and_pages_are_numbered():
    row = {"image_uri": "a.pdf#page=3", "images": None}
    assert references(row) == [ImageRef("a.pdf", page=3)]
    group = {"image_uri": "a", "images": [{"uri": "a"}, {"uri": "b#page=x"}]}
    assert references(group) == [ImageRef("a"), ImageRef("b#page=x")]


def test_local_files_stores_archives_and_data_urls_are_drawn(tmp_path):
    (tmp_path / "a b%20#c.png").write_bytes(png())
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("in/a.png", png())
    with fsspec.open("memory://pictures/a.png", "wb") as file:
        file.write(png())
    found = [
        drawn(str(tmp_path / "a b%20#c.png")),
        drawn((tmp_path / "z.zip").as_uri().replace("file://", "zip://in/a.png::")),
        drawn("memory://pictures/a.png"),
        drawn(f"data:image/png;base64,{base64.b64encode(png()).decode()}"),
    ]
    assert [(image.media_type, image.width_px) for image in found] == [("image/jpeg", 40)] * 4


def test_an_image_is_upright_within_its_bounds_and_its_first_page(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "photo.jpg").write_bytes(png((3000, 1000), format="JPEG", exif=exif))
    pages = [Image.new("RGB", (10 * page, 10)) for page in (1, 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    photo = drawn(str(tmp_path / "photo.jpg"))
    assert (photo.width_px, photo.height_px) == (400, 1200)
    assert len(photo.data) <= 50_000
    assert drawn(str(tmp_path / "pages.tif")).width_px == 10
    assert drawn(str(tmp_path / "pages.tif"), page=2).width_px == 20
    with Image.open(io.BytesIO(shrunk(photo, THUMBNAIL_SIDE_PX))) as small:
        assert small.size == (120, 360)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("/nowhere/a.png", "not there any more"),
        ("memory://nowhere/a.png", "not there any more"),
        ("nosuch://a", "not shown here"),
        ("ftp://127.0.0.1/a.png", "not shown here"),
        ("https://example.com/a.png", "not fetched"),
        ("zip://a.png::https://example.com/a.zip", "not shown here"),
        ("parquet://image/0::/data/a.parquet", "not shown here"),
        ("data:image/png;base64,AAAA…", "only the beginning"),
        ("/dev/null", "not there any more"),
    ],
)
def test_what_cannot_be_shown_says_why(uri, told):
    [thumbnail] = thumbnails([ImageRef(uri)], max_side_px=100)
    assert told in thumbnail.why
    assert thumbnail._repr_mimebundle_() == {"text/plain": f"no image: {thumbnail.why}"}


def test_a_file_that_cannot_be_opened_or_is_too_large_says_why(tmp_path):
    (tmp_path / "z.zip").write_bytes(b"no archive")
    with pytest.raises(ItemError, match="cannot be read"):
        drawn(f"zip://a.png::{tmp_path}/z.zip")
    (tmp_path / "big").touch()
    with (tmp_path / "big").open("wb") as file:
        file.truncate(SETTINGS.max_source_bytes + 1)
    with pytest.raises(ItemError, match="larger than"):
        drawn(str(tmp_path / "big"))


def test_thumbnails_are_made_of_what_another_reader_gives():
    image = draw_here(
        ImageRef(f"data:;base64,{base64.b64encode(png((900, 600))).decode()}"), SETTINGS
    )
    [thumbnail] = thumbnails([ImageRef("anywhere")], draw=lambda _ref: image, max_side_px=90)
    with Image.open(io.BytesIO(thumbnail.data)) as small:
        assert small.size == (90, 60)
    assert "image/jpeg" in thumbnail._repr_mimebundle_()
    assert "data" not in repr(Thumbnail(b"x"))
