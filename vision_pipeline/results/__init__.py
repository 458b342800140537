"""What a notebook imports: load the table, judge it."""

from vision_pipeline.results.table import load

__all__ = ["load"]
