"""What a run of selected items is about to do, told before it does it."""

from __future__ import annotations

from vision_pipeline.core.plain_text import plain
from vision_pipeline.pipeline.plan import Run
from vision_pipeline.pipeline.services import Services


def prospect(services: Services, run: Run) -> str:
    """In words, for a person."""
    if not run.items:
        return "; ".join(["nothing to ask about", *_left_alone(services)])
    left = sum(run.shard_rows[shard] for shard in run.pending)
    began = f", left of {run.items} of a run that was cut off" if run.resumed else ""
    parts = [f"{left} items to ask about{began}, {_ends(services, run)}"]
    chunks = services.chunks.cut(run.pending, run.shard_rows)
    if len(chunks) > 1:
        largest = max(sum(run.shard_rows[shard] for shard in chunk) for chunk in chunks)
        pause = f"{services.chunks.pause_s:g} s between them"
        parts.append(
            f"in {len(chunks)} chunks of at most {largest}{_as_begun(services, largest)}, {pause}"
        )
    bounds = services.config.budget
    most = [f"{bounds.usd:g} USD"] if bounds.usd is not None else []
    most += [f"{bounds.tokens:,} tokens"] if bounds.tokens is not None else []
    if most:
        parts.append(f"for at most {' and '.join(most)}")
    return "; ".join([*parts, *_left_alone(services)])


def _as_begun(services: Services, most: int) -> str:
    wanted = services.chunks.items or most
    return "" if most <= wanted else f" (not {wanted}: so it was begun)"


def _ends(services: Services, run: Run) -> str:
    results = services.results
    first = results.shard_items(run.run_id, 0)["item_id"][0].as_py()
    last = results.shard_items(run.run_id, run.shards - 1)["item_id"][-1].as_py()
    return plain(first if run.items == 1 else f"from {first} to {last}")


def _left_alone(services: Services) -> list[str]:
    progress = services.progress
    alone = {
        "answered before": progress.already_answered,
        "failed before for good": progress.already_failed,
        **{why.replace("_", " "): count for why, count in progress.skipped.items()},
    }
    told = ", ".join(f"{count} {why}" for why, count in alone.items() if count)
    return [f"left alone: {told}"] if told else []
