"""Items from a manifest: one a row, or one for all rows with the same value of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import pyarrow as pa

from vision_pipeline.adapters.sources.batches import BATCH_ROWS, ITEM_FIELDS, Found, batch_of
from vision_pipeline.adapters.sources.damages import Damages
from vision_pipeline.adapters.sources.groups import groups_of, ranks_of
from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.adapters.sources.manifest_files import manifest_files, same_columns
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.adapters.sources.references import References
from vision_pipeline.adapters.sources.row_references import RowReferences
from vision_pipeline.adapters.sources.tables import Table, read_table, require_column
from vision_pipeline.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class ManifestColumns:
    """Which columns of a manifest mean what.

    Attributes:
        image: Path or URL of the image or, in Parquet, its bytes.
        group_by: Rows with the same value make one item, or None.
        id: Values become the items' ids, or None for the image's value.
        types: Arrow's name of the type, for columns whose type is not to be guessed.
        reserved: Names that the result table needs for itself.
        order_by: Values order the images of a group, or None for the manifest's order.
    """

    image: str
    group_by: str | None = None
    id: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    reserved: Collection[str] = ()
    order_by: str | None = None

    def others(self, schema: pa.Schema) -> list[str]:
        """The columns that are passed through: all but the image's, and the id's if reserved."""
        taken = {self.image}
        if self.id in self._reserved():
            taken.add(self.id)
        return [name for name in schema.names if name not in taken]

    def check(self, schema: pa.Schema, location: str) -> None:
        """See that the manifest has what is configured and nothing in its way.

        Raises:
            SourceError: A column is missing, there twice, or has a reserved name.
        """
        wanted = {
            "image_column": self.image,
            "group_by": self.group_by,
            "id_column": self.id,
            "order_by": self.order_by,
        }
        for key, name in wanted.items():
            if name is not None:
                require_column(name, schema, location=location, key=f"source.{key}")
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
        if twice:
            raise SourceError(f"{location}: the column {twice[0]!r} is there more than once")
        clashes = [name for name in self.others(schema) if name in self._reserved()]
        if clashes:
            names = ", ".join(sorted(self._reserved()))
            clash = ", ".join(repr(name) for name in clashes)
            raise SourceError(f"{location}: rename {clash}; the result table reserves {names}")

    def _reserved(self) -> set[str]:
        return {*self.reserved, *(item_field.name for item_field in ITEM_FIELDS)}


class ManifestSource:
    """A table of images, with columns that prompts and results use.

    Of several Parquet files, what is damaged of one is an item whose reading fails and says so;
    with `group_by` it stops the run, for groups would lack images.

    A document of several pages gives one item a page or, in a group, one image a page; images
    whose bytes are in the manifest itself are taken for single ones.

    Args:
        location: Local path or URL that fsspec knows, ending in a manifest's suffix, or a pattern
            of several files with the same columns.
        columns: What its columns mean.
        pages: Tells the pages of documents; None for one image a file.
    """

    def __init__(self, location: str, columns: ManifestColumns, pages: Pages | None = None) -> None:
        self._location = location
        self._columns = columns
        self._pages = pages
        self.counts: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items in the manifest's order; none where it is empty.

        Streams, except with `group_by`, which holds the manifest in memory.

        Raises:
            SourceError: The manifest is missing, cannot be parsed or has the wrong columns.
        """
        return self._rows() if self._columns.group_by is None else self._groups()

    def _tables(self, files: Sequence[str], damages: Damages) -> Iterator[Table]:
        names = {name for name in (self._columns.id, self._columns.group_by) if name is not None}
        first = None
        for location in files:
            tables = read_table(
                location,
                image_column=self._columns.image,
                name_columns=names,
                column_types=self._columns.types,
            )
            for table in damages.outlived(tables, location, []):
                self._columns.check(table.schema, location)
                if first is None:
                    first = table
                    yield table
                else:
                    yield same_columns(first, table)

    def _rows(self) -> Iterator[pa.RecordBatch]:
        ids, last = UniqueIds(), None
        files = manifest_files(self._location)
        damages = Damages(self._columns.image, is_fatal=len(files) == 1)
        for table in self._tables(files, damages):
            for start, batch, found in self._found(table, damages):
                last = batch
                # Documents make more items of a batch than it has rows.
                items = self._items(table, start, batch, found, ids)
                while some := list(islice(items, BATCH_ROWS)):
                    item_ids, images, rows = zip(*some, strict=True)
                    is_whole = rows == tuple(range(batch.num_rows))
                    repeated = batch if is_whole else batch.take(pa.array(rows))
                    yield self._batch(item_ids, [[each] for each in images], repeated)
        if damages.first is not None:
            if last is None:
                raise damages.first
            yield self._damaged(damages.items, ids, last.schema)

    def _damaged(self, items: Sequence[Found], ids: UniqueIds, schema: pa.Schema) -> pa.RecordBatch:
        nulls = [pa.nulls(len(items), field.type) for field in schema]
        nothing = pa.RecordBatch.from_arrays(nulls, schema=schema)
        some_ids = [ids.distinct(each.item_id) for each in items]
        return self._batch(some_ids, [[each] for each in items], nothing)

    def _items(
        self,
        table: Table,
        start: int,
        batch: pa.RecordBatch,
        found: Sequence[Found],
        ids: UniqueIds,
    ) -> Iterator[tuple[str, Found, int]]:
        """The id, the image and the number in its batch of the row of each item."""
        named = None if self._columns.id is None else batch.column(self._columns.id).to_pylist()
        for row, each in enumerate(found):
            claim: Callable[[str], str] = ids.distinct
            name = each.item_id
            if named is not None:
                where = f"{table.location}, row {start + row + 1}"
                claim, name = partial(ids.once, where=where), _id_text(named[row], where)
            item_id = claim(name)
            for page in self._pages_of(each):
                suffix = page.item_id.removeprefix(each.item_id)
                yield claim(item_id + suffix) if suffix else item_id, page, row

    def _groups(self) -> Iterator[pa.RecordBatch]:
        group_by, order_by = self._columns.group_by, self._columns.order_by
        batches: list[pa.RecordBatch] = []
        found: list[Found] = []
        files = manifest_files(self._location)
        damages = Damages(self._columns.image, is_fatal=True)
        for table in self._tables(files, damages):
            for _, batch, some in self._found(table, damages):
                batches.append(batch)
                found += some
        if not batches:
            return
        whole = pa.Table.from_batches(batches)
        names = [each.item_id for each in found]
        rows_of = groups_of(whole.column(group_by).to_pylist(), names)
        if order_by is not None:
            column = whole.column(order_by)
            ranks = ranks_of(column, name=order_by, location=self._location)
            rows_of = {each: sorted(rows, key=ranks.__getitem__) for each, rows in rows_of.items()}
        item_ids = list(rows_of)
        for start in range(0, len(item_ids), BATCH_ROWS):
            some_ids = item_ids[start : start + BATCH_ROWS]
            firsts = whole.take([rows_of[each][0] for each in some_ids]).combine_chunks()
            images = [
                [page for row in rows_of[each] for page in self._pages_of(found[row])]
                for each in some_ids
            ]
            yield self._batch(some_ids, images, firsts.to_batches()[0])

    def _found(
        self, table: Table, damages: Damages
    ) -> Iterator[tuple[int, pa.RecordBatch, list[Found]]]:
        """Each batch, the number of its first row in the file, from 0, and the rows' images."""
        image, taken = self._columns.image, list[int]()
        rows = RowReferences(table.location, image) if table.images.has_bytes else None
        references = References(table.location)
        for batch in damages.outlived(table.batches, table.location, taken):
            start = sum(taken)
            values = batch.column(image).to_pylist()
            if rows is None:
                found = [references.found(value) for value in values]
            else:
                found = [rows.found(row, value) for row, value in enumerate(values, start)]
            yield start, batch, found
            taken.append(batch.num_rows)

    def _pages_of(self, found: Found) -> Sequence[Found]:
        if self._pages is None or found.page is not None:
            return (found,)
        return self._pages.of(found)

    def _batch(
        self, item_ids: Sequence[str], images: Sequence[Sequence[Found]], rows: pa.RecordBatch
    ) -> pa.RecordBatch:
        names = self._columns.others(rows.schema)
        others = [(rows.schema.field(name), rows.column(name)) for name in names]
        return batch_of(item_ids, images, others)


def _id_text(value: object, where: str) -> str:
    if value is None:
        raise SourceError(f"{where}: the id is empty")
    return str(value)
