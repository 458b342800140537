"""Items from a manifest: one a row, or one for all rows with the same value of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from vision_pipeline.adapters.sources.batches import BATCH_ROWS, ITEM_FIELDS, Found, batch_of
from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.adapters.sources.references import References
from vision_pipeline.adapters.sources.tables import Table, read_table, require_column
from vision_pipeline.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class ManifestColumns:
    """Which columns of a manifest mean what.

    Attributes:
        image: Path or URL of the image.
        group_by: Rows with the same value make one item, or None.
        id: Values become the items' ids, or None for the image's value.
        types: Arrow's name of the type, for columns whose type is not to be guessed.
        reserved: Names that the result table needs for itself.
    """

    image: str
    group_by: str | None = None
    id: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    reserved: Collection[str] = ()

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
        wanted = {"image_column": self.image, "group_by": self.group_by, "id_column": self.id}
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

    Args:
        location: Local path or URL that fsspec knows, ending in a manifest's suffix.
        columns: What its columns mean.
    """

    def __init__(self, location: str, columns: ManifestColumns) -> None:
        self._location = location
        self._columns = columns
        self._references = References(location)
        self.counts: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items in the manifest's order; none where it is empty.

        Streams, except with `group_by`, which holds the manifest in memory.

        Raises:
            SourceError: The manifest is missing, cannot be parsed or has the wrong columns.
        """
        names = {name for name in (self._columns.id, self._columns.group_by) if name is not None}
        tables = read_table(
            self._location,
            text_columns={self._columns.image},
            name_columns=names,
            column_types=self._columns.types,
        )
        for table in tables:
            self._columns.check(table.schema, self._location)
            yield from self._rows(table) if self._columns.group_by is None else self._groups(table)

    def _rows(self, table: Table) -> Iterator[pa.RecordBatch]:
        ids, row = UniqueIds(), 1
        for batch in table.batches:
            found = self._found(batch)
            if self._columns.id is None:
                item_ids = [ids.distinct(each.item_id) for each in found]
            else:
                values = batch.column(self._columns.id).to_pylist()
                item_ids = [
                    ids.once(_id_text(value, where), where=where)
                    for value, where in zip(values, self._places(row), strict=False)
                ]
            row += batch.num_rows
            yield self._batch(item_ids, [[each] for each in found], batch)

    def _groups(self, table: Table) -> Iterator[pa.RecordBatch]:
        whole = pa.Table.from_batches(table.batches, schema=table.schema)
        found = self._found(whole)
        ids = UniqueIds()
        groups: dict[tuple[str, int | None], list[int]] = {}
        for row, value in enumerate(whole.column(self._columns.group_by).to_pylist()):
            # A row without a group is an item of its own, under its image's name.
            alone = value in (None, "")
            key = (found[row].item_id, row) if alone else (str(value), None)
            groups.setdefault(key, []).append(row)
        rows_of = {ids.distinct(name): rows for (name, _), rows in groups.items()}
        item_ids = list(rows_of)
        for start in range(0, len(item_ids), BATCH_ROWS):
            some = item_ids[start : start + BATCH_ROWS]
            firsts = whole.take([rows_of[each][0] for each in some]).combine_chunks()
            images = [[found[row] for row in rows_of[each]] for each in some]
            yield self._batch(some, images, firsts.to_batches()[0])

    def _found(self, rows: pa.RecordBatch | pa.Table) -> list[Found]:
        values = rows.column(self._columns.image).to_pylist()
        return [self._references.found(value) for value in values]

    def _batch(
        self, item_ids: list[str], images: list[list[Found]], rows: pa.RecordBatch
    ) -> pa.RecordBatch:
        names = self._columns.others(rows.schema)
        others = [(rows.schema.field(name), rows.column(name)) for name in names]
        return batch_of(item_ids, images, others)

    def _places(self, row: int) -> Iterator[str]:
        while True:
            yield f"{self._location}, row {row}"
            row += 1


def _id_text(value: object, where: str) -> str:
    if value is None:
        raise SourceError(f"{where}: the id is empty")
    return str(value)
