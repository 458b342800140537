"""Reading the bytes of images: files, object stores, members of containers, `data:` URLs."""

from vision_pipeline.adapters.images.parquet_rows import ParquetReader
from vision_pipeline.adapters.images.reader import ImageReader
from vision_pipeline.adapters.images.stores import is_changed_in_store
from vision_pipeline.adapters.images.tar import TarReader
from vision_pipeline.adapters.images.zip import ZipReader

__all__ = ["ImageReader", "ParquetReader", "TarReader", "ZipReader", "is_changed_in_store"]
