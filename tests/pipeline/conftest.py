import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.fakes import ListSource, MemoryImages, MemoryLedger, ScriptedModel, TextPreparer
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.models import Price
from vision_pipeline.core.prompts import parse_template
from vision_pipeline.core.protocol import BodyFormat
from vision_pipeline.core.question import Question
from vision_pipeline.core.selection import ALL
from vision_pipeline.core.tokens import DEFAULT_RULE
from vision_pipeline.pipeline.chunks import WHOLE
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.services import BaseServices, Services
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.pipeline.stored import Found, ReparseServices, reparse
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results.table import open_folder, read_rows

TEMPLATE = """---
version: 1
description: A caption.
schema: {type: object, properties: {caption: {type: string}}, required: [caption]}
max_images: 2
---
Caption this."""
NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


class Bench:
    """A run over fakes, with a real output folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.source = ListSource(["a", "b", "c"])
        self.images = MemoryImages()
        self.preparer = TextPreparer()
        self.model = ScriptedModel()
        self.ledger = MemoryLedger()
        self.template = TEMPLATE
        self.settings: dict[str, object] = {}
        self.price: Price | None = Price(input=1.0, output=2.0)
        self.fresh = False
        self.selection = ALL
        self.chunks = WHOLE
        self.said: list[str] = []
        self.found: list[Found] = []
        self.grace_s = 5.0
        self.slots = 8
        self.is_changed: Callable[[Sequence[tuple[str, str]]], list[bool]] | None = None

    def services(self) -> Services:
        config = RunConfig.model_validate(
            {"name": "t", "source": {"path": "x"}, "prompt": "p", "output": {"path": self.root}}
            | self.settings
        )
        template = parse_template(self.template, file="p.md")
        question = Question(template, "m", {"max_tokens": 50}, {}, "fake", DEFAULT_RULE)
        results = ResultStore(OutputFolder(self.root))
        return Services(
            config=config,
            question=question,
            body_format=BodyFormat({"model": "m"}, template.schema and template.schema.document),
            price=self.price,
            source=self.source,
            images=self.images,
            preparer=self.preparer,
            model=self.model,
            ledger=self.ledger,
            results=results,
            history=History(results),
            progress=Progress(),
            slots=asyncio.Semaphore(self.slots),
            preparing=asyncio.Semaphore(4),
            is_changed=self.is_changed,
            stop=Stop(),
            fresh=self.fresh,
            selection=self.selection,
            chunks=self.chunks,
            say=self.said.append,
            grace_s=self.grace_s,
        )

    async def run(self, services: Services | None = None) -> Summary:
        return await carry_out(services or self.services(), analyze_shard)

    def reparse_services(self) -> ReparseServices:
        usual = self.services()
        shared = {each.name: getattr(usual, each.name) for each in fields(BaseServices)}
        return ReparseServices(**shared, tell=self.found.append)

    async def reparse(self, services: ReparseServices | None = None) -> Summary:
        return await reparse(services or self.reparse_services(), reparse_shard)

    def answers_with(self, script: Callable[[dict[str, object]], object]) -> None:
        self.model = ScriptedModel(script)

    def run_ids(self) -> list[str]:
        return self.services().results.run_ids()

    def unfinish(self) -> None:
        """Make the latest run one that was cut off before its end."""
        results = self.services().results
        run_id = results.run_ids()[-1]
        results.write_run(run_id, results.read_run(run_id) | {"finished_at": None})

    def rows(self) -> pa.Table:
        return read_rows(open_folder(self.root))

    def column(self, name: str) -> dict[str, object]:
        rows = self.rows()
        return dict(zip(rows["item_id"].to_pylist(), rows[name].to_pylist(), strict=True))


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(str(tmp_path / "out"))
