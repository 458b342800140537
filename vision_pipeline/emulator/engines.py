"""Which engine stands behind which name."""

from __future__ import annotations

from vision_pipeline.emulator.ocr import OcrEngine
from vision_pipeline.emulator.question import Engine
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.emulator.synthetic import SyntheticEngine


def create_engine(settings: EmulatorSettings) -> Engine:
    """The engine that the settings name, ready to answer.

    Raises:
        ConfigError: What the engine needs is not installed.
    """
    match settings.engine:
        case "ocr":
            return OcrEngine()
        case "synthetic":
            return SyntheticEngine(seed=settings.seed)
