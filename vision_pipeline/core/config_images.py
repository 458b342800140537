"""The part of the configuration that says which images, and how they are made ready."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vision_pipeline.core.config_section import MAX_BYTES, Section, at

MEBIBYTE = 1024 * 1024


class SourceConfig(Section):
    """Where the images are: a folder or archive, or a manifest that lists them."""

    path: str | None = Field(
        default=None,
        description="Folder, image, document, or tar or zip archives; local or a URL.",
        json_schema_extra=at(0),
    )
    manifest: str | None = Field(
        default=None, description="CSV, JSON Lines or Parquet file.", json_schema_extra=at(1)
    )
    image_column: str = Field(
        default="image",
        description="Manifest column with paths, URLs or the images' own bytes.",
        json_schema_extra=at(2),
    )
    id_column: str | None = Field(
        default=None, description="Manifest column with unique ids.", json_schema_extra=at(3)
    )
    group_by: str | None = Field(
        default=None,
        description="Manifest column whose equal values make one request of several images.",
        json_schema_extra=at(4),
    )
    order_by: str | None = Field(
        default=None,
        description="Manifest column that orders the images of a group; null: as listed.",
        json_schema_extra=at(5),
    )
    include: tuple[str, ...] = Field(
        default=(),
        description="Patterns of files to take; empty: all images.",
        json_schema_extra=at(6),
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns of files to leave out.", json_schema_extra=at(7)
    )
    follow_links: bool = Field(
        default=False,
        description="Follow links that leave the source folder.",
        json_schema_extra=at(8),
    )
    column_types: dict[str, str] = Field(
        default_factory=dict,
        description="Types of CSV columns, such as {zip: string}, where the guess is wrong.",
        json_schema_extra=at(9),
    )
    allow_private_urls: bool = Field(
        default=False,
        description="Fetch image URLs on private addresses too.",
        json_schema_extra=at(10),
    )
    revalidate: bool = Field(
        default=True,
        description="Ask the server of an answered image URL whether the image changed (by ETag).",
        json_schema_extra=at(11),
    )
    max_connections_per_host: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Image URLs fetched from one host at once.",
        json_schema_extra=at(12),
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BYTES,
        description="Take only the first N items.",
        json_schema_extra=at(13),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.manifest is None):
            raise ValueError("give exactly one of `path` (a folder) and `manifest` (a file)")
        if self.manifest is None and (self.group_by or self.id_column):
            raise ValueError("`group_by` and `id_column` name columns of a `manifest`")
        if self.order_by and not self.group_by:
            raise ValueError("`order_by` orders the images of a group: it needs `group_by`")
        return self


class ImageConfig(Section):
    """How an image is made ready for the model."""

    max_side_px: int = Field(
        default=1540,
        ge=16,
        le=10_000,
        description="Longer side after scaling down; images are never enlarged.",
        json_schema_extra=at(0),
    )
    max_image_tokens: int | None = Field(
        default=None,
        ge=2,
        le=MAX_BYTES,
        description="Scale further down until an image costs no more input tokens.",
        json_schema_extra=at(1),
    )
    format: Literal["auto", "jpeg", "png"] = Field(
        default="auto",
        description="Of an image that has to be encoded anew; auto: the smaller.",
        json_schema_extra=at(2),
    )
    quality: int = Field(default=90, ge=1, le=95, description="Of a JPEG.", json_schema_extra=at(3))
    strip_metadata: bool = Field(
        default=True, description="Cut GPS and other metadata out.", json_schema_extra=at(4)
    )
    verify: Literal["full", "structure"] = Field(
        default="full",
        description="full: decode all of it first, so that a damaged file costs no call.",
        json_schema_extra=at(5),
    )
    send: Literal["base64", "url"] = Field(
        default="base64",
        description="url: the provider fetches the manifest's public URLs itself.",
        json_schema_extra=at(6),
    )
    max_source_bytes: int = Field(
        default=100 * MEBIBYTE,
        ge=1,
        le=MAX_BYTES,
        description="A larger file is an error row.",
        json_schema_extra=at(7),
    )
    max_source_pixels: int = Field(
        default=100_000_000,
        ge=1,
        le=MAX_BYTES,
        description="An image of more pixels is an error row.",
        json_schema_extra=at(8),
    )
    max_pages: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="A document of more pages is an error row.",
        json_schema_extra=at(9),
    )
    max_decode_s: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="Longest work on one image before its decoder is stopped.",
        json_schema_extra=at(10),
    )
    max_decode_bytes: int = Field(
        default=2048 * MEBIBYTE,
        ge=128 * MEBIBYTE,
        le=MAX_BYTES,
        description="Memory that decoding one image may take (Linux).",
        json_schema_extra=at(11),
    )
