"""What really goes over the wire, decoded and held against the upright original.

A run over drawn photos, through the whole product, to an emulator that keeps what it was sent.
"""

import base64
import csv
import struct
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from vision_pipeline.core.config import RunConfig
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.wiring.services import open_services

TEMPLATE = """---
version: 1
description: Names the image, so that a request can be found again.
schema: null
---
[{{ name }}]"""
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
LEAST_SSIM = 0.95
GPS_TEXT = b"48 deg 51 min"


def photo(width, height):
    """Detail at all scales, hard edges, and no symmetry."""
    random = np.random.default_rng(3)
    layers = np.zeros((height, width, 3))
    for octave in range(2, 8):
        shape = (height >> octave or 1, width >> octave or 1, 3)
        coarse = Image.fromarray((random.random(shape) * 255).astype("uint8"))
        layers += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * 2.0**octave
    image = Image.fromarray((layers / sum(2.0**o for o in range(2, 8))).astype("uint8"))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 4, height // 4), (200, 30, 30))
    draw.polygon([(width, 0), (width, height // 3), (width * 2 // 3, 0)], (30, 160, 30))
    draw.ellipse((width // 9, height * 2 // 3, width // 3, height - 9), (30, 30, 200))
    return image


def encoded(image, kind, **options):
    written = BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def float_reference(image, size):
    """The image at `size`, resampled in floats from all of its pixels."""
    bands = [
        np.asarray(band.convert("F").resize(size, Image.Resampling.LANCZOS))
        for band in image.convert("RGB").split()
    ]
    return np.clip(np.stack(bands, axis=-1), 0, 255)


def similarity(one, other):
    luma = np.array([0.299, 0.587, 0.114])
    return structural_similarity(
        one @ luma,
        other @ luma,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.fixture
def send(tmp_path, synthetic):
    """Runs the product over named files; gives what was sent, by name."""

    async def run(files, **image_settings):
        folder = tmp_path / "photos"
        folder.mkdir()
        (tmp_path / "name.md").write_text(TEMPLATE)
        with (folder / "list.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["image", "name"])
            for name, data in files.items():
                (folder / name).write_bytes(data)
                lines.writerow([name, name])
        config = RunConfig.model_validate(
            {
                "name": "wire",
                "source": {"manifest": str(folder / "list.csv")},
                "prompt": str(tmp_path / "name.md"),
                "model": {"provider": "emulator", "base_url": f"{synthetic.base_url}/v1"},
                "image": image_settings,
                "output": {"path": str(tmp_path / "out")},
            }
        )
        emulator = httpx.AsyncClient(base_url=synthetic.base_url, trust_env=False)
        async with emulator, open_services(config) as services:
            await emulator.post("/_emulator/reset")
            summary = await carry_out(services, analyze_shard)
            captured = (await emulator.get("/_emulator/requests")).json()
        assert summary.ok == len(files)
        return dict(named(each["body"]) for each in captured)

    return run


def named(body):
    text, image = body["messages"][0]["content"]
    head, _, payload = image["image_url"]["url"].partition(",")
    assert head.startswith("data:image/")
    return text["text"].strip("[]"), base64.b64decode(payload, validate=True)


def shown(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"), dtype=float)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
async def test_all_eight_orientations_arrive_upright_and_sharp(send, kind):
    upright = photo(1300, 850)
    files = {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored = upright.transpose(UNDO[orientation]) if orientation in UNDO else upright
        files[f"{orientation}.img"] = encoded(stored, kind, exif=exif, quality=90)
    sent = await send(files, max_side_px=560)
    assert sorted(sent) == sorted(files)
    for data in sent.values():
        arrived = shown(data)
        height, width, _ = arrived.shape
        assert max(width, height) <= 560
        assert width > height
        assert similarity(arrived, float_reference(upright, (width, height))) >= LEAST_SSIM


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_an_orientation_of_xmp_alone_arrives_upright(send, kind):
    upright = photo(400, 260)
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        b'22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    stored = upright.transpose(UNDO[6])
    if kind == "PNG":
        info = png_text("XML:com.adobe.xmp", xmp.decode())
        data = encoded(stored, kind, pnginfo=info)
    else:
        data = encoded(stored, kind, xmp=xmp, quality=95)
    [arrived] = (await send({"a.img": data})).values()
    assert similarity(shown(arrived), float_reference(upright, (400, 260))) >= LEAST_SSIM


def png_text(key, text):
    info = PngInfo()
    info.add_itxt(key, text)
    return info


def difference(sent, original):
    """Mean and greatest CIEDE2000 difference between a sent file and an RGB image."""
    delta = deltaE_ciede2000(
        rgb2lab(shown(sent) / 255), rgb2lab(np.asarray(original.convert("RGB")) / 255.0)
    )
    return float(delta.mean()), float(np.percentile(delta, 99))


def colours():
    """Smooth colours that every space here can hold; smooth, so that JPEG changes little."""
    x, y = np.meshgrid(np.linspace(0, 1, 320), np.linspace(0, 1, 200))
    channels = [60 + 140 * x, 60 + 140 * y, 200 - 140 * x * y]
    return Image.fromarray(np.stack(channels, axis=-1).astype("uint8"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
async def test_colours_of_cmyk_files_arrive_as_they_were(send, kind):
    original = colours()
    data = encoded(original.convert("CMYK"), kind, quality=95)
    [arrived] = (await send({"a.img": data}, format="png")).values()
    mean, most = difference(arrived, original)
    assert mean < 1.5
    assert most < 4


# D50-adapted primaries of Display P3 (ICC registry, "Display P3"), rows of X, Y, Z.
P3 = np.array(
    [[0.515102, 0.291965, 0.157153], [0.241182, 0.692236, 0.066582], [-0.00105, 0.041885, 0.784378]]
)
# The same of sRGB (IEC 61966-2-1, Bradford-adapted).
SRGB = np.array(
    [[0.436066, 0.385147, 0.143066], [0.222488, 0.716873, 0.060608], [0.013916, 0.097076, 0.714096]]
)
GAMMA = 2.2


def p3_profile():
    """A smallest RGB display profile (version 2.1) with those primaries and that gamma."""

    def fixed(values):
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + b"\0" * 79
    tags = {b"desc": name, b"wtpt": b"XYZ \0\0\0\0" + fixed([0.9642, 1, 0.8249])}
    for letter, column in zip(b"rgb", P3.T, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(column)
        tags[bytes([letter]) + b"TRC"] = curve
    table, body = b"", b""
    for key, data in tags.items():
        start = 132 + 12 * len(tags) + len(body)
        table += key + struct.pack(">II", start, len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4sI", size, b"none", 0x02100000) + b"mntrRGB XYZ " + b"\x07\xda"
    head += b"\0\1" * 5 + b"acsp" + b"\0" * 28 + fixed([0.9642, 1, 0.8249]) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + body


def in_p3(image):
    """The same colours as numbers of that profile."""
    values = np.asarray(image) / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    device = linear @ (np.linalg.inv(P3) @ SRGB).T
    return Image.fromarray((np.clip(device, 0, 1) ** (1 / GAMMA) * 255).round().astype("uint8"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_colours_of_wide_gamut_files_arrive_as_they_were(send, kind):
    original = colours()
    wide = in_p3(original)
    assert difference(encoded(wide, "PNG"), original)[0] > 2  # as unread numbers they are wrong
    data = encoded(wide, kind, icc_profile=p3_profile(), quality=98)
    [arrived] = (await send({"a.img": data}, format="png")).values()
    mean, most = difference(arrived, original)
    assert mean < 1
    assert most < 3
    assert "icc_profile" not in Image.open(BytesIO(arrived)).info


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("width", [400, 2000])
async def test_no_place_and_no_camera_leaves_the_machine(send, kind, width):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "CameraMaker"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 24.0)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "SN-12345678"
    options = {"comment": GPS_TEXT} if kind == "JPEG" else {}
    data = encoded(photo(width, 300), kind, exif=exif, xmp=b"<x>" + GPS_TEXT + b"</x>", **options)
    assert b"SN-12345678" in data
    [arrived] = (await send({"a.img": data})).values()
    for secret in (b"SN-12345678", b"CameraMaker", GPS_TEXT, b"Exif", b"eXIf", b"http://ns.adobe"):
        assert secret not in arrived
    assert not Image.open(BytesIO(arrived)).getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
async def test_what_needs_no_change_arrives_byte_for_byte(send, kind):
    data = encoded(photo(640, 480), kind)
    [arrived] = (await send({"a.img": data})).values()
    assert arrived == data
