"""One temporary Prefect server for all flow tests; nothing of the user's own is read or written."""

import gc
import os
import tempfile
import warnings
from pathlib import Path

# Read when Prefect is first imported. An empty URL outranks a `.env` file in the working directory.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
os.environ["PREFECT_API_URL"] = ""
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "0"
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session", autouse=True)
def prefect_server():
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


# Prefect's clients leave sockets to the garbage collector.
LEFTOVERS = (
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for pattern in LEFTOVERS:
                item.add_marker(pytest.mark.filterwarnings(pattern))


@pytest.fixture(autouse=True)
def prefects_leftovers(prefect_server):
    """Collected here, so that they do not count against a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
