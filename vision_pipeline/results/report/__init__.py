"""An output folder as a page that one can look at: numbers, plots, images beside answers."""

from vision_pipeline.results.report.writing import Choice, Report, Sources, write_report

__all__ = ["Choice", "Report", "Sources", "write_report"]
