"""Items from a path: of folders and archives one an image, a page or a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from vision_pipeline.adapters.sources.archives import Archive, Listing, zip_images
from vision_pipeline.adapters.sources.batches import Found, batches_of
from vision_pipeline.adapters.sources.file_systems import open_hopping
from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.adapters.sources.patterns import Patterns
from vision_pipeline.adapters.sources.places import Images, Places
from vision_pipeline.adapters.sources.tar_archives import (
    TarContents,
    damaged_rest,
    tar_contents,
    tar_images,
)
from vision_pipeline.adapters.sources.tar_members import TarMembers
from vision_pipeline.adapters.sources.web_dataset import (
    Sample,
    batches_of_samples,
    columns_of,
    is_web_dataset,
    samples_of,
    text_extensions,
)
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import readable

_MOST_HELD_MEMBERS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Tar:
    """A tar archive that was looked through.

    Attributes:
        archive: Which one.
        held: Its members, or None where too many were held before: they are then read again.
        extensions: Of a WebDataset, those that become columns; else None.
        damaged_at_bytes: As in `TarContents`.
    """

    archive: Archive
    held: TarMembers | None
    extensions: dict[str, str] | None
    damaged_at_bytes: int | None

    def members(self) -> TarMembers:
        return tar_contents(self.archive).members if self.held is None else self.held

    def rest(self) -> Iterator[Found]:
        """What stands for the members that nobody can tell any more."""
        if self.damaged_at_bytes is not None:
            yield damaged_rest(self.archive, self.damaged_at_bytes)


class PathSource:
    """The images of folders and archives, in a stable order.

    Attributes:
        counts: After `batches`, how many files were passed over, by reason.

    Args:
        places: Where they are.
        patterns: Which members of archives are taken.
        pages: Tells how many pages a document has.
        reserved: Column names that a WebDataset may not use.
    """

    def __init__(
        self, places: Places, *, patterns: Patterns, pages: Pages, reserved: Collection[str]
    ) -> None:
        self._places = places
        self._patterns = patterns
        self._pages = pages
        self._reserved = reserved
        self.counts: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items, streamed; none where there is no image.

        The headers of all tar archives are read before the first batch, for their columns.

        Raises:
            SourceError: A folder cannot be listed, the only archive is none, or a WebDataset has a
                column that it may not have.
        """
        self.counts = Counter()
        listing = Listing(self._patterns, self._pages, UniqueIds(), self.counts)
        places = list(_looked_through(self._places.find(self.counts), listing))
        data_sets = [each.extensions for each in places if isinstance(each, _Tar)]
        extensions: dict[str, str] = {}
        for some in filter(None, data_sets):
            extensions = some | extensions
        columns = columns_of(extensions, self._reserved)
        if all(some is None for some in data_sets):
            yield from batches_of(_images_of_all(places, listing))
            return
        samples = (sample for place in places for sample in _samples(place, columns, listing))
        yield from batches_of_samples(samples, columns.values())


_Place = Images | Archive | _Tar


def _looked_through(places: Iterable[Images | Archive], listing: Listing) -> Iterator[_Place]:
    """The places, with what the headers of tar archives say."""
    held = 0
    for place in places:
        if not (isinstance(place, Archive) and place.scheme == "tar"):
            yield place
            continue
        contents = _contents(place)
        if not contents.has_end:
            listing.counts["archives_without_end_mark"] += 1
        for name in contents.lost_links:
            listing.counts[listing.reason_to_skip(readable(name)) or "links"] += 1
        members = contents.members
        held += len(members)
        yield _Tar(
            place,
            members if held <= _MOST_HELD_MEMBERS else None,
            text_extensions(place, members, listing) if is_web_dataset(members, listing) else None,
            contents.damaged_at_bytes,
        )


def _contents(archive: Archive) -> TarContents:
    try:
        return tar_contents(archive)
    except SourceError:
        if not archive.prefix:
            raise
        return TarContents(
            TarMembers(), damaged_at_bytes=0
        )  # one of many: the others are worth their run


def _images_of_all(places: Iterable[_Place], listing: Listing) -> Iterator[Found]:
    return (found for place in places for found in _images(place, listing))


def _images(place: _Place, listing: Listing) -> Iterator[Found]:
    if isinstance(place, _Tar):
        yield from tar_images(place.archive, place.members(), listing)
        yield from place.rest()
    elif isinstance(place, Archive):
        yield from zip_images(place, listing)
    else:
        for found in place():
            yield from listing.pages.of(found, partial(open_hopping, found.uri))


def _samples(place: _Place, columns: Mapping[str, str], listing: Listing) -> Iterator[Sample]:
    if isinstance(place, _Tar) and place.extensions is not None:
        yield from samples_of(place.archive, place.members(), columns, listing)
        yield from (Sample(rest.item_id, [rest]) for rest in place.rest())
    else:
        yield from (Sample(found.item_id, [found]) for found in _images(place, listing))
