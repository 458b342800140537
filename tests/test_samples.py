"""The content that ships: samples, prompt templates, the catalogue of models, recipes."""

from __future__ import annotations

import importlib.util
import json
from datetime import date
from pathlib import Path
from types import ModuleType

import jsonschema_rs
import PIL
import pytest
import yaml
from PIL import Image

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.models import Catalogue, is_retired, parse_catalogue
from vision_pipeline.core.prompts import parse_template

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data" / "samples"
TEMPLATES = sorted((ROOT / "configs" / "prompts").glob("*.md"))
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
TRUTH = [json.loads(line) for line in (SAMPLES / "truth.jsonl").read_text("utf-8").splitlines()]
NAMES = [row["image"] for row in TRUTH]
SHIPPED = {
    "describe", "classify", "alt_text", "chart", "compare", "transcribe", "receipt_text",
    "receipt_fields", "old_document", "elements", "invoice", "ocr_lines",
}  # fmt: skip
RESERVED = {
    "item_id", "image_uri", "image_sha256", "image_bytes", "image_format", "image_width_px",
    "image_height_px", "sent_width_px", "sent_height_px", "sent_bytes", "images", "status",
    "error_code", "error_detail", "reply_text", "finish_reason", "attempts", "repaired", "provider",
    "model", "prompt", "prompt_version", "question_sha256", "idempotency_key", "prompt_tokens",
    "completion_tokens", "cached_tokens", "estimated_tokens", "cost_usd", "mode", "from_ledger",
    "queued_s", "latency_s", "answered_at", "run_id", "shard",
}  # fmt: skip
TODAY = date(2026, 11, 22)


def by_name(path: Path) -> str:
    return path.stem


def load_script() -> ModuleType:
    script = ROOT / "data" / "make_samples.py"
    spec = importlib.util.spec_from_file_location("make_samples", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(script.parent)  # where Python itself looks when it runs the script
        spec.loader.exec_module(module)
    return module


def front_matter(template: Path) -> dict:
    _, head, _ = template.read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head)


def objects_in(node: object) -> list[dict]:
    """Every schema of an object inside a schema, the outermost first."""
    if isinstance(node, list):
        return [found for child in node for found in objects_in(child)]
    if not isinstance(node, dict):
        return []
    inner = [found for child in node.values() for found in objects_in(child)]
    return [node, *inner] if node.get("type") == "object" else inner


def catalogue() -> Catalogue:
    text = (ROOT / "configs" / "models.yaml").read_text("utf-8")
    return parse_catalogue(yaml.safe_load(text), file="configs/models.yaml")


# --- Samples ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    load_script().write_samples(folder)
    return folder


def test_the_truth_names_exactly_the_images_that_are_there():
    images = {path.name for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"}}
    assert len(NAMES) == len(set(NAMES)) == 12
    assert set(NAMES) == images


def test_the_samples_stay_small_enough_to_be_tracked():
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 1_500_000


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_sides_that_can_be_read_and_sent(name):
    with Image.open(SAMPLES / name) as image:
        assert min(image.size) >= 700
        assert max(image.size) <= 1600


@pytest.mark.skipif(
    PIL.__version__ != load_script().DRAWN_WITH, reason="another Pillow draws text otherwise"
)
@pytest.mark.parametrize("name", NAMES)
def test_the_script_draws_a_sample_again_pixel_by_pixel(name, redrawn):
    with Image.open(SAMPLES / name) as tracked, Image.open(redrawn / name) as again:
        assert tracked.mode == again.mode
        assert tracked.size == again.size
        assert tracked.tobytes() == again.tobytes()


@pytest.mark.parametrize("name", ["truth.jsonl", "pairs.csv"])
def test_the_script_writes_the_same_text_files(name, redrawn):
    assert (redrawn / name).read_text("utf-8") == (SAMPLES / name).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_photo_lies_sideways(name):
    with Image.open(SAMPLES / name) as image:
        orientation = image.getexif().get(0x0112)
    assert orientation == (6 if name == "photo-notice-sideways.jpg" else None)


def test_pairs_name_samples_two_a_group():
    _, *rows = (SAMPLES / "pairs.csv").read_text("utf-8").splitlines()
    groups = [row.split(",")[0] for row in rows]
    assert {row.split(",")[1] for row in rows} <= set(NAMES)
    assert {groups.count(group) for group in groups} == {2}


@pytest.mark.parametrize(
    ("kind", "template"),
    [("receipt", "receipt_fields"), ("invoice", "invoice")],
)
def test_the_true_fields_are_a_valid_answer_of_their_template(kind, template):
    schema = front_matter(ROOT / "configs" / "prompts" / f"{template}.md")["schema"]
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    fields = [row["fields"] for row in TRUTH if row["kind"] == kind]
    assert fields
    for one in fields:
        validator.validate(one)


def test_the_true_series_are_a_valid_answer_of_the_chart_template():
    schema = front_matter(ROOT / "configs" / "prompts" / "chart.md")["schema"]
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    fields = [row["fields"] for row in TRUTH if row["kind"] == "chart"]
    assert [one["chart_type"] for one in fields] == ["bar", "line"]
    for one in fields:
        validator.validate(one | {"takeaway": "any sentence"})


@pytest.mark.parametrize("name", [row["image"] for row in TRUTH if row["kind"] == "receipt"])
def test_a_receipt_adds_up(name):
    fields = TRUTH[NAMES.index(name)]["fields"]
    goods = sum(item["line_total"] for item in fields["items"])
    before_tax = goods if fields["subtotal"] is None else fields["subtotal"]
    added = 0 if fields["subtotal"] is None else fields["tax"]
    assert goods == pytest.approx(before_tax)
    assert before_tax + added == pytest.approx(fields["total"])


# --- Prompt templates ---------------------------------------------------------------------------


def test_every_use_case_has_a_template():
    assert {template.stem for template in TEMPLATES} == SHIPPED


@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_a_template_has_the_known_keys_and_a_text(template):
    head = front_matter(template)
    required = {"version", "description", "schema", "max_images"}
    assert required <= set(head) <= required | {"system", "min_images"}
    assert isinstance(head["version"], str)
    assert 1 <= head.get("min_images", 1) <= head["max_images"] <= 8
    assert template.read_text("utf-8").split("---\n", 2)[2].strip()


@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_a_template_works_without_a_manifest_and_uses_optional_columns(template):
    parsed = parse_template(template.read_text("utf-8"), file=template.name)
    bare = parsed.render({})
    assert not parsed.variables
    assert "{" not in bare
    for column in ("language", "context", "country", "period", "collection", "focus", "look_for"):
        promised = column in parsed.description.partition("Optional manifest column")[2]
        assert ("ZEBRA" in parsed.render({column: "ZEBRA"})) is promised
        assert parsed.render({column: None}) == bare


@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_an_answer_schema_is_valid_closed_and_fully_required(template):
    schema = front_matter(template)["schema"]
    assert schema is None or schema["type"] == "object"
    jsonschema_rs.meta.validate(schema if schema is not None else {})
    for node in objects_in(schema):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])


@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_an_answer_column_takes_no_reserved_name(template):
    schema = front_matter(template)["schema"] or {"properties": {"answer": {}}}
    assert not set(schema["properties"]) & RESERVED


# --- Models and recipes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["pixtral-12b-latest", "pixtral-large-latest", "mistral-medium-2508", "mistral-small-2506"],
)
def test_a_model_of_the_old_vision_page_is_retired_and_has_a_living_replacement(name):
    models = catalogue()
    old = models.find(name)
    assert old is not None
    assert is_retired(old, TODAY)
    assert models.find(old.replacement or "") in models.living(TODAY)


def test_a_living_vision_model_has_a_price_with_cached_input_at_a_tenth():
    for model in catalogue().living(TODAY):
        assert model.price is not None
        assert model.price.cached_input == pytest.approx(model.price.input / 10)


def test_no_name_leads_to_two_models():
    names = [name for model in catalogue() for name in (model.id, *model.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "recipe", [path for path in RECIPES if path.name != "models.yaml"], ids=by_name
)
def test_a_recipe_asks_a_living_model_a_question_that_ships(recipe):
    config = yaml.safe_load(recipe.read_text("utf-8"))
    models = catalogue()
    RunConfig.model_validate(config)
    assert config["name"] == recipe.stem
    assert config["prompt"] in SHIPPED
    assert models.find(config["model"]["name"]) in models.living(TODAY)
    source = config["source"]
    assert (ROOT / (source.get("path") or source["manifest"])).exists()
