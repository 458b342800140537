"""What ships and what the user has beside it: prompt templates, the model catalogue, the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from vision_pipeline.core.config import ModelConfig
from vision_pipeline.core.config_file import parse_mapping
from vision_pipeline.core.errors import AccessError, ConfigError
from vision_pipeline.core.models import Catalogue, ModelSpec, is_retired, parse_catalogue
from vision_pipeline.core.prompts import PromptTemplate, parse_template
from vision_pipeline.core.suggestions import nearest

PACKAGE = Path(__file__).parent.parent
KEY_VARIABLES = {"mistral": "MISTRAL_API_KEY", "openai": "OPENAI_API_KEY"}


def shipped(name: str) -> Path:
    """A file or folder of `configs/` as it comes with the package."""
    packaged = PACKAGE / "_configs" / name
    return packaged if packaged.exists() else PACKAGE.parent / "configs" / name


def load_catalogue() -> Catalogue:
    """The model catalogue: what ships, and the working directory's `configs/models.yaml` over it.

    Raises:
        ConfigError: A row is not valid.
    """
    documents, file = [], "configs/models.yaml"
    for path in dict.fromkeys([shipped("models.yaml").resolve(), Path(file).resolve()]):
        if path.is_file():
            documents.append(parse_mapping(path.read_text("utf-8"), file=str(path)))
    return parse_catalogue(*documents, file=file)


def prompt_files() -> dict[str, Path]:
    """Prompt templates by name: those that ship, and the working directory's own over them."""
    folders = [shipped("prompts"), Path("configs/prompts")]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.md"))}


def load_template(prompt: str) -> PromptTemplate:
    """A prompt template by name or by path.

    Raises:
        ConfigError: There is none, or it is not valid.
    """
    path = Path(prompt) if prompt.endswith(".md") else prompt_files().get(prompt)
    if path is None:
        known = prompt_files()
        raise ConfigError(
            f"prompt: no template {prompt!r}{nearest(prompt, known)}; known: {', '.join(known)}; "
            "or the path of a .md file"
        )
    try:
        source = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt: {path}: cannot be read: {error}") from None
    return parse_template(source, file=str(path))


def find_model(config: ModelConfig, catalogue: Catalogue, *, today: datetime) -> ModelSpec | None:
    """The catalogue's row for the configured model, or None for a model that it does not know.

    Raises:
        ConfigError: The model is retired, or does not see images; names one that lives and does.
    """
    spec = catalogue.find(config.name)
    if spec is None:
        return None
    living = ", ".join(model.id for model in catalogue.living(today.date()))
    if not spec.vision:
        raise ConfigError(f"model.name: {config.name} does not see images; these do: {living}")
    if config.provider == "mistral" and is_retired(spec, today.date()):
        raise ConfigError(
            f"model.name: {config.name} was retired on {spec.retired_on}; "
            f"use {spec.replacement or living}"
        )
    return spec


def find_key(config: ModelConfig, environment: Mapping[str, str]) -> str | None:
    """The API key from the environment, or None where the provider needs none.

    Raises:
        ConfigError: It is needed and not set.
    """
    if config.api_key_block:
        raise ConfigError(
            "model.api_key_block: a Prefect Secret block is read by the flow alone; "
            "use --engine prefect, or model.api_key_env"
        )
    variable = config.api_key_env or KEY_VARIABLES.get(config.provider)
    key = environment.get(variable, "").strip() if variable else ""
    if not key and (config.provider == "mistral" or config.api_key_env):
        raise ConfigError(
            f"{variable} is not set; it holds the API key. Without a key: "
            "--set model.provider=emulator --set model.engine=synthetic makes answers up; its "
            "engine ocr reads text, for prompts such as ocr_lines"
        )
    return key or ("emulator" if config.provider == "emulator" else None)


@contextmanager
def telling_of_no_key(config: ModelConfig, key: str | None) -> Iterator[None]:
    """Where requests carry no key, a refusal within the block says so, and how to set one.

    Raises:
        AccessError: The provider refuses the key, or that there is none.
    """
    try:
        yield
    except AccessError as error:
        if key:
            raise
        variable = KEY_VARIABLES.get(config.provider, "OPENAI_API_KEY")
        raise AccessError(
            f"{error}; no API key was sent, since {variable} is not set: `export {variable}=…`, "
            "or name another variable in model.api_key_env"
        ) from error
