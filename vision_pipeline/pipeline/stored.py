"""Earlier runs gone through again, to read their stored replies under another schema."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from vision_pipeline.core.dialogue import READING_VERSION
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.pipeline.fingerprints import FINGERPRINT
from vision_pipeline.pipeline.plan import Run, check_columns, freeze_run, identity_of
from vision_pipeline.pipeline.reparse import Reparser
from vision_pipeline.pipeline.run import DoShard, accomplish
from vision_pipeline.pipeline.services import ORIGIN, BaseServices, Earlier, tell_nobody
from vision_pipeline.pipeline.summary import Summary

log = logging.getLogger(__name__)

NO_ABILITIES = "no image was opened"  # no run has these, so that no error of a reparse settles
_NOT_ASKED = ("api_key_env", "api_key_block")

ReparseShard = Callable[[Reparser, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Found:
    """What earlier runs have for a reparse; counts of items.

    Attributes:
        replied: Their latest row has a reply, which is read again.
        unreplied: Their latest row is an error before any reply, and goes along.
        settled: Left alone: their latest row was read under this schema before.
        others: Left alone: they were never asked this question, whatever the schema.
    """

    replied: int
    unreplied: int
    settled: int
    others: int

    def told(self) -> str:
        """In words."""
        return (
            f"{self.replied} stored replies to read, {self.unreplied} errors without a reply; "
            f"left alone: {self.settled} read under this schema before, {self.others} asked "
            "another question"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReparseServices(BaseServices):
    """Everything that a reparse shares, opened once.

    Attributes:
        tell: Hears what there is to do, before it is done.
    """

    tell: Callable[[Found], None] = tell_nobody


async def reparse(services: ReparseServices, do_shard: ReparseShard) -> Summary:
    """Read the stored replies of earlier runs under the schema of now, and write a run of rows.

    Args:
        services: Opened for this run.
        do_shard: Does one shard; an engine may wrap it.

    Raises:
        RunError: Why it could not begin or stopped early; the same command goes on.
    """

    async def ready(run: Run) -> DoShard:
        return partial(do_shard, Reparser(services, run.run_id))

    return await accomplish(services, partial(freeze_run, services, Stored(services)), ready)


class Stored:
    """The items of which earlier runs have rows of the same question, whatever its schema.

    The attributes are those of `Work`. A later run ends it: what that has answered is not to be
    covered with an older reply.
    """

    def __init__(self, services: ReparseServices) -> None:
        self._services = services
        self._others = 0
        self.identity = identity_of("reparse", services.question.sha256, READING_VERSION)
        self.is_overtaken = True
        self.facts: Mapping[str, Any] = {"reparse": True, "abilities": NO_ABILITIES}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items, with the place of the row of each.

        Raises:
            OutputError: Files are damaged, or do not fit together.
            ConfigError: No run asked this question; or the new schema's columns do not fit.
        """
        services = self._services
        services.progress.lists = "earlier runs"
        runs = {run_id: services.results.read_run(run_id) for run_id in services.results.run_ids()}
        question = services.question
        kin = [
            run["question_sha256"]
            for run in runs.values()
            if run.get("unshaped_sha256") == question.unshaped_sha256
        ]
        settled = [run_id for run_id, run in runs.items() if self._is_settled(run)]
        earlier = services.history.earlier({*kin, question.sha256}, settled_in=settled)
        self._report(earlier, runs[max(runs)] if runs else {})
        for number, batch in enumerate(earlier.batches()):
            if not number:
                hidden = (FINGERPRINT.name, ORIGIN.name)
                names = [name for name in batch.schema.names if name not in hidden]
                check_columns(question.template, names)
            yield batch

    def skipped(self) -> dict[str, int]:
        """How many items were never asked this question."""
        return {"of_another_question": self._others} if self._others else {}

    def _is_settled(self, run: Mapping[str, Any]) -> bool:
        """Whether its rows were read under this schema, as replies are read now."""
        is_same = run.get("question_sha256") == self._services.question.sha256
        return is_same and run.get("reading") == READING_VERSION

    def _report(self, earlier: Earlier, latest: Mapping[str, Any]) -> None:
        services, settled = self._services, earlier.answered + earlier.failed
        if not earlier.replied + earlier.unreplied + settled:
            raise ConfigError(self._nothing(earlier.others, latest))
        services.progress.already_answered = earlier.answered
        services.progress.already_failed = earlier.failed
        self._others = earlier.others
        found = Found(earlier.replied, earlier.unreplied, settled, earlier.others)
        log.info("reparse: %s", found.told(), extra=asdict(found))
        services.tell(found)

    def _nothing(self, items: int, latest: Mapping[str, Any]) -> str:
        config, question = self._services.config, self._services.question
        then = latest.get("config", {})
        asked = {
            "model": config.model.model_dump(mode="json", exclude=set(_NOT_ASKED)),
            "image": config.image.model_dump(mode="json", include=set(question.preparation)),
        }
        differing = [
            f"{section}.{key} was {then[section][key]!r}, and is {value!r}"
            for section, values in asked.items()
            for key, value in values.items()
            if then.get(section, {}).get(key, value) != value
        ]
        told = "; ".join(differing) or (
            f"the text or the system message of {question.template.file} has changed, or the runs "
            "are of a version that did not note them"
        )
        return (
            f"{config.output.path}: none of {items} items was asked this question: only the schema "
            f"of the answer may differ from what was asked. Of the latest run: {told}"
        )
