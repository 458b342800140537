"""What a plan foresees, against what the emulator then counts and the run costs."""

import json
from pathlib import Path

import httpx
import pytest
from PIL import Image

from vision_pipeline.core.models import Catalogue
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
FOLDERS = [ROOT / "data" / "samples", *(SHARED / each for each in ("receipts", "charts", "nasty"))]
TEMPLATE = "---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?"


@pytest.fixture
def plain(tmp_path):
    """A recipe without images, whose prompt is short, on an emulator of its own."""
    (tmp_path / "p.md").write_text(TEMPLATE)
    # The models of 16 px are retired: the emulator says so, as the vendor does.
    living = Catalogue(each.model_copy(update={"retired_on": None}) for each in load_catalogue())
    with running(EmulatorSettings(seed=3), living) as emulator:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            f"""
name: plain
source: {{path: {tmp_path / "images"}}}
prompt: {tmp_path / "p.md"}
model: {{provider: emulator, engine: synthetic, base_url: "{emulator.base_url}/v1"}}
output: {{path: {tmp_path / "out"}}}
"""
        )
        yield recipe, emulator


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("model", ["mistral-small-2603", "pixtral-large-2411"])  # P28 and P16
def test_input_tokens_are_those_that_the_emulator_counts(command, plain, tmp_path, folder, model):
    if not folder.exists():
        pytest.skip("the shared pictures are not here")
    recipe, emulator = plain
    given = [
        "--source",
        folder,
        "--set",
        f"model.name={model}",
        "--set",
        "source.follow_links=false",
    ]
    found = json.loads(command("plan", recipe, *given, "--json").out)
    command("run", recipe, *given)
    rows = load(str(tmp_path / "out"))
    asked = rows[rows["prompt_tokens"].notna() & ~rows["repaired"]]
    assert len(asked) == found["to_ask"] + found["duplicates"]
    assert sum(found["errors"].values()) == found["items"] - len(asked)
    assert (asked["prompt_tokens"] == asked["estimated_tokens"]).all()
    usage = httpx.get(f"{emulator.base_url}/_emulator/stats").json()["prompt_tokens"]
    assert usage == found["image_tokens"] + found["text_tokens"]


@pytest.mark.parametrize("prompt", ["describe", "receipt_fields", "classify"])
def test_the_cost_is_about_what_a_sample_foretells(command, plain, tmp_path, prompt):
    recipe, _ = plain
    (tmp_path / "images").mkdir()
    for number in range(120):
        size = (30 + 7 * (number % 40), 40 + 5 * (number % 23))
        Image.new("RGB", size, (number, 2, 3)).save(tmp_path / "images" / f"{number:03}.png")
    given = ["--set", f"prompt={prompt}"]
    command("plan", recipe, *given, "--sample", "12")
    usd = json.loads(command("plan", recipe, *given, "--json").out)["forecast"]["usd"]
    spent = json.loads(command("run", recipe, *given, "--json").out)["cost_usd"]
    # Its range holds in 95 of 100 samples, and one of twice its width in 999 of 1,000.
    assert 0 < usd["low"] < usd["likely"] < usd["high"]
    assert abs(spent - usd["likely"]) < usd["high"] - usd["low"]
