"""What tests of several folders share: an emulator, images, and recipes that use them."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import fsspec
import pytest
from hypothesis import settings
from PIL import Image

from tests.servers import (
    BUCKET,
    PASSWORD,
    ObjectStore,
    PostgresServer,
    object_store,
    postgres_server,
)
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.databases import Database
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.wiring.library import load_catalogue

# Two shared cores: how long an example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

SHARED_DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def synthetic() -> Iterator[RunningEmulator]:
    """An emulator with the synthetic engine that keeps what it was asked."""
    with running(EmulatorSettings(capture=True), load_catalogue()) as emulator:
        yield emulator


NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; whoever stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    """A database without tables, as its address shows it: a schema costs less than a database."""
    name = f"test_{next(NUMBERS)}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return Database(postgres.url(name), PASSWORD)


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    """An object store."""
    with object_store() as running_store:
        yield running_store


@pytest.fixture
def bucket(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket and an empty folder in it, and the variables that lead there."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    return f"{BUCKET}/{next(NUMBERS)}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of four small images and a text file."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (64 + number, 48), (40 * number, 90, 120)).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def recipe(tmp_path: Path, pictures: Path, synthetic: RunningEmulator) -> RunConfig:
    """A run over the pictures, answered by the synthetic engine."""
    return RunConfig.model_validate(
        {
            "name": "pictures",
            "source": {"path": str(pictures)},
            "prompt": "describe",
            "model": {"provider": "emulator", "base_url": f"{synthetic.base_url}/v1"},
            "output": {"path": str(tmp_path / "out")},
        }
    )
