"""What a notebook imports: load the table, look at it, judge it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision_pipeline.results.evaluation.differing import diff
    from vision_pipeline.results.evaluation.judging import evaluate
    from vision_pipeline.results.loading import load
    from vision_pipeline.results.notebook import Results, open_results

__all__ = ["Results", "diff", "evaluate", "load", "open_results"]

# Imported when they are asked for: comparing and drawing take what a table does not need.
_MODULES = {
    "Results": "notebook",
    "diff": "evaluation.differing",
    "evaluate": "evaluation.judging",
    "load": "loading",
    "open_results": "notebook",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of those)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
