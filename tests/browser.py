"""A headless Chromium for tests of what a page does."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium():
    """The path of a Chromium; skips the test where there is none."""
    given = os.environ.get("VISION_PIPELINE_CHROMIUM")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH, and VISION_PIPELINE_CHROMIUM names none")
    return found


@contextmanager
def browser():
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox does not start as root, as in a container.
        running = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()
