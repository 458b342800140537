"""Preparing images in processes of their own, which a hostile file may crash or hang."""

from vision_pipeline.adapters.preparation.preparer import Preparer
from vision_pipeline.adapters.preparation.workers import WorkerLimits

__all__ = ["Preparer", "WorkerLimits"]
