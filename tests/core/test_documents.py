"""Files that hold more than one picture: pages, frames, and what a row says of the rest."""

from io import BytesIO

import pytest
from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_formats import PLUGIN_PACKAGES
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import as_it_is, check, prepare
from vision_pipeline.core.pdf import count_pages
from vision_pipeline.core.prompts import parse_template
from vision_pipeline.core.question import Question
from vision_pipeline.core.tiff import tiff_pages
from vision_pipeline.core.tokens import DEFAULT_RULE

COLOURS = [(200, 30, 30), (30, 160, 30), (30, 30, 200)]


def saved(kind, count=3, **options):
    """`count` pictures of plain colours, each 10 px wider than the one before."""
    pictures = [Image.new("RGB", (40 + 10 * n, 30), COLOURS[n]) for n in range(count)]
    written = BytesIO()
    if count > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(written, kind, **options)
    return written.getvalue()


def shown(prepared):
    return Image.open(BytesIO(prepared.data)).convert("RGB")


def near(pixel, wanted):
    return all(abs(a - b) < 30 for a, b in zip(pixel, wanted, strict=True))


def refused(source, **options):
    with pytest.raises(ItemError) as caught:
        prepare(source, options.pop("settings", ImageSettings()), **options)
    return caught.value.code, caught.value.detail


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_each_page_is_prepared_on_its_own(kind):
    if kind == "PDF":
        pytest.importorskip("pypdfium2")
    document = saved(kind)
    for number, colour in enumerate(COLOURS, start=1):
        prepared = prepare(document, ImageSettings(), page=number)
        assert (prepared.page, prepared.note, prepared.source_format) == (number, "", kind)
        assert near(shown(prepared).getpixel((20, 15)), colour)


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_a_document_without_a_page_named_shows_its_first_and_says_so(kind):
    if kind == "PDF":
        pytest.importorskip("pypdfium2")
    prepared = prepare(saved(kind), ImageSettings())
    assert (prepared.page, prepared.note) == (None, "first of 3 pages")
    assert near(shown(prepared).getpixel((20, 15)), COLOURS[0])
    assert prepare(saved(kind, count=1), ImageSettings()).note == ""


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_a_page_that_is_not_there_is_unreadable(kind):
    if kind == "PDF":
        pytest.importorskip("pypdfium2")
    code, detail = refused(saved(kind), page=4)
    assert code == ErrorCode.UNREADABLE_IMAGE
    assert "page 4" in detail
    assert "has 3" in detail


def test_an_image_has_no_second_page():
    assert prepare(saved("PNG", count=1), ImageSettings(), page=1).page == 1
    assert refused(saved("PNG", count=1), page=2)[0] == ErrorCode.UNREADABLE_IMAGE


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_a_document_of_too_many_pages_is_too_large(kind):
    if kind == "PDF":
        pytest.importorskip("pypdfium2")
    few = ImageSettings(max_pages=2)
    code, detail = refused(saved(kind), settings=few)
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert "max_pages" in detail
    assert prepare(saved(kind), few, page=2).page == 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_shows_its_first_frame_and_says_so(kind):
    frames = [Image.new("RGB", (40, 30), colour) for colour in COLOURS]
    written = BytesIO()
    frames[0].save(written, kind, save_all=True, append_images=frames[1:], duration=100)
    prepared = prepare(written.getvalue(), ImageSettings())
    assert prepared.note == "first frame of an animation"
    assert near(shown(prepared).getpixel((20, 15)), COLOURS[0])


def test_a_jpeg_of_several_pictures_says_so_also_when_it_goes_out_as_it_is():
    kept = as_it_is(saved("MPO"), ImageSettings())
    assert kept is not None
    assert kept.note == "first of several pictures"


def test_smaller_copies_of_a_page_are_no_pages():
    pages = [Image.new("RGB", (64, 64)), Image.new("RGB", (32, 32))]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    written = BytesIO()
    pages[0].save(written, "TIFF", save_all=True, append_images=pages[1:])
    assert prepare(written.getvalue(), ImageSettings()).note == ""


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6, 0.7, 0.9])
def test_the_page_that_a_tiff_lost_by_a_cut_is_an_error(share):
    noise = [Image.effect_noise((60, 60), 90) for _ in range(3)]
    whole = BytesIO()
    noise[0].save(whole, "TIFF", save_all=True, append_images=noise[1:], compression="tiff_lzw")
    cut = whole.getvalue()[: int(len(whole.getvalue()) * share)]
    pages = tiff_pages(BytesIO(cut), most=100).frames
    assert prepare(cut, ImageSettings(), page=1).page == 1
    assert len(pages) > 1
    assert refused(cut, page=len(pages))[0] == ErrorCode.UNREADABLE_IMAGE
    assert prepare(cut, ImageSettings()).note == f"first of {len(pages)} pages"


def test_a_tiff_that_points_to_a_page_nowhere_is_one_image_and_says_so():
    tiff = saved("TIFF", count=1)
    at = int.from_bytes(tiff[4:8], "little")
    at += 2 + 12 * int.from_bytes(tiff[at : at + 2], "little")
    prepared = prepare(tiff[:at] + b"\x10" * 4 + tiff[at + 4 :], ImageSettings())
    assert prepared.note == "the only page found; the file points to a further one"


def test_pages_are_different_questions():
    template = parse_template("---\nversion: 1\ndescription: d\nschema: null\n---\nRead.", file="p")
    question = Question(template, "m", {}, {}, "fake", DEFAULT_RULE)
    document = saved("TIFF")
    keys = {
        question.ask("Read.", [prepare(document, ImageSettings(), page=page)]).idempotency_key
        for page in (None, 1, 2, 3)
    }
    assert len(keys) == 4


def test_a_pdf_page_is_drawn_at_the_size_that_it_is_sent_at():
    pytest.importorskip("pypdfium2")
    page = Image.new("RGB", (850, 1100), "white")
    page.paste((0, 0, 0), (0, 0, 850, 100))
    written = BytesIO()
    page.save(written, "PDF", resolution=100)
    prepared = prepare(written.getvalue(), ImageSettings())
    size = (prepared.width_px, prepared.height_px)
    assert size == shown(prepared).size
    assert 1490 <= size[1] <= 1540
    assert (prepared.source_width_px, prepared.source_height_px) == (2550, 3300)  # 300 dpi
    assert shown(prepared).getpixel((5, 5)) == (0, 0, 0)
    assert shown(prepared).getpixel((size[0] - 1, size[1] - 1)) == (255, 255, 255)


@pytest.mark.parametrize("damage", [b"%PDF-1.7\n", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF"])
def test_a_damaged_pdf_is_unreadable(damage):
    pytest.importorskip("pypdfium2")
    code, detail = refused(damage)
    assert code == ErrorCode.UNREADABLE_IMAGE
    assert "PDF" in detail


LOST_PAGE = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
trailer<</Root 1 0 R>>
%%EOF"""


def test_a_pdf_whose_page_is_lost_is_unreadable():
    pytest.importorskip("pypdfium2")
    code, detail = refused(LOST_PAGE)
    assert code == ErrorCode.UNREADABLE_IMAGE
    assert "damaged PDF" in detail


ENCRYPTED = b"""%%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
3 0 obj<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>endobj
trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>
%%%%EOF""" % (b"11" * 32, b"22" * 32)


def test_an_encrypted_pdf_says_that_it_is():
    pytest.importorskip("pypdfium2")
    code, detail = refused(ENCRYPTED)
    assert code == ErrorCode.UNREADABLE_IMAGE
    assert "encrypted" in detail


def test_a_pdf_without_its_decoder_names_the_extra(monkeypatch):
    monkeypatch.setitem(PLUGIN_PACKAGES, "PDF", "a_package_that_is_not_installed")
    code, detail = refused(b"%PDF-1.7")
    assert code == ErrorCode.UNSUPPORTED_FORMAT
    assert "[formats]" in detail
    with pytest.raises(ItemError):
        count_pages(b"%PDF-1.7")


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "AVIF", "TIFF", "GIF"])
def test_what_only_a_decoder_in_c_can_open_is_left_to_it(kind):
    assert as_it_is(saved(kind, count=1), ImageSettings()) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_may_stay_is_told_without_a_decoder(kind, monkeypatch):
    source = saved(kind, count=1)
    expected = prepare(source, ImageSettings())
    monkeypatch.setattr(Image.Image, "load", None)
    assert as_it_is(source, ImageSettings()) == expected


def test_an_orientation_that_may_stand_behind_the_pixels_is_left_to_the_decoder():
    exif = Image.Exif()
    exif[274] = 6
    assert as_it_is(saved("PNG", count=1, exif=exif), ImageSettings()) is None


def test_a_file_with_a_colour_profile_is_left_to_the_decoder():
    assert as_it_is(saved("JPEG", count=1, icc_profile=b"anything"), ImageSettings()) is None


def test_checking_a_damaged_image_raises():
    png = bytearray(saved("PNG", count=1))
    png[-20] ^= 0xFF
    check(saved("PNG", count=1), ImageSettings())
    with pytest.raises(ItemError):
        check(bytes(png), ImageSettings())


def test_a_file_that_does_not_reach_its_end_is_left_to_the_decoder():
    assert as_it_is(saved("JPEG", count=1)[:-2], ImageSettings()) is None
