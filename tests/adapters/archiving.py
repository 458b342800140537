"""Small archives, images and documents, and what a source lists of them."""

import io
import tarfile
import zipfile

import fsspec
import pytest
from PIL import Image

from vision_pipeline.adapters.sources import open_source
from vision_pipeline.core.errors import ItemError, SourceError
from vision_pipeline.core.members import parse_member
from vision_pipeline.core.records import ImageRef


def png(shade=0):
    file = io.BytesIO()
    Image.new("L", (3, 2), shade).save(file, "PNG")
    return file.getvalue()


def tiff(pages):
    images = [Image.new("L", (4, 4), 10 * page) for page in range(pages)]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    return file.getvalue()


def pdf(pages):
    """What `pdf_pages` counts."""
    return b"%PDF-" + b"page" * pages


def pdf_pages(data):
    return data.count(b"page")


def tar_bytes(files, tar_format=tarfile.PAX_FORMAT):
    """Of names and contents, or pairs of them; None makes a folder, a type and a name a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                info.type, info.linkname = content
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zip_bytes(files, method=zipfile.ZIP_DEFLATED):
    """Of names and contents, or pairs of them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6))
            info.compress_type = method
            archive.writestr(info, content)
    return file.getvalue()


PACK = {"tar": tar_bytes, "zip": zip_bytes}
FILES = {"a.png": png(1), "b/ü.png": png(2), "c.png": bytes(range(256)) * 20}


def archive_at(folder, scheme, files=FILES):
    path = folder / f"x.{scheme}"
    path.write_bytes(PACK[scheme](files))
    return path


def upload(url, content):
    with fsspec.open(url, "wb") as file:
        file.write(content)


def source_of(path, **settings):
    return open_source(path=str(path), count_pages=pdf_pages, **settings)


def rows_of(source):
    return [row for batch in source.batches() for row in batch.to_pylist()]


def ids_of(source):
    return [row["item_id"] for row in rows_of(source)]


def images_of(source):
    return [image for row in rows_of(source) for image in row["images"]]


def complaint_of(source):
    with pytest.raises(SourceError) as caught:
        rows_of(source)
    complaint = str(caught.value)
    assert "\n" not in complaint
    return complaint


def refs_of(path):
    return [ImageRef(**image) for image in images_of(source_of(path))]


def read(readers, ref, max_bytes=100_000):
    """The bytes of a member, by the reader of its scheme."""
    member = parse_member(ref.uri)
    return readers[member.scheme].read(member, ref, max_bytes=max_bytes)


def code_of(readers, ref):
    with pytest.raises(ItemError) as caught:
        read(readers, ref)
    return caught.value.code
