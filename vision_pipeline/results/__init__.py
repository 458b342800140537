"""What a notebook imports: load the table, judge it."""

from vision_pipeline.results.evaluation.differing import diff
from vision_pipeline.results.evaluation.judging import evaluate
from vision_pipeline.results.loading import load

__all__ = ["diff", "evaluate", "load"]
