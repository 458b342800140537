"""The catalogue of vision models: names, image-token rules, prices, limits and retirement.

The rows themselves stand in `configs/models.yaml`; a name that is not there still works, with the
default rule and no price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.tokens import DEFAULT_RULE, TokenRule


class Price(BaseModel):
    """List price in USD per million tokens; `batch` is the share of it that is paid in a batch.

    The Mistral Batch API takes half of all prices (vendor's batch FAQ, 2026-08).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    batch: float = Field(default=0.5, ge=0, le=1)

    @property
    def batch_price(self) -> Price:
        """What a request costs that is part of a batch job."""
        cached = self.cached_input
        return Price(
            input=self.input * self.batch,
            output=self.output * self.batch,
            cached_input=None if cached is None else cached * self.batch,
            batch=1.0,
        )

    def cost_usd(self, *, prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> float:
        """The price of one reply; `cached_tokens` are part of `prompt_tokens`."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        fresh = max(0, prompt_tokens - cached_tokens)
        total = fresh * self.input + cached_tokens * cached_rate + completion_tokens * self.output
        return total / 1_000_000


def total_usd(costs: Iterable[float | None]) -> float | None:
    """What replies cost together; None where none of them has a price."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


class ModelSpec(BaseModel):
    """One row of `configs/models.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    aliases: tuple[str, ...] = ()
    patch_px: int = Field(default=DEFAULT_RULE.patch_px, ge=1)
    max_side_px: int = Field(default=DEFAULT_RULE.max_side_px, ge=1)
    vision: bool = True
    price: Price | None = None
    context_tokens: int | None = Field(default=None, ge=1)
    max_images: int = Field(default=8, ge=1)
    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_request_bytes: int = Field(default=40_000_000, ge=1024)
    retired_on: date | None = None
    replacement: str | None = None
    source: str | None = None

    @property
    def rule(self) -> TokenRule:
        """The image-token rule of this model."""
        return TokenRule(self.patch_px, self.max_side_px)


class Catalogue:
    """Models by id and by alias; later rows with the same id replace earlier ones."""

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        self._by_id: dict[str, ModelSpec] = {}
        for model in models:
            self._by_id.pop(model.id, None)  # takes the later row's place too: its aliases win
            self._by_id[model.id] = model
        self._by_name = {name: m for m in self._by_id.values() for name in m.aliases} | self._by_id

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._by_id.values())

    def find(self, name: str) -> ModelSpec | None:
        """The model of that id or alias, or None."""
        return self._by_name.get(name)

    def living(self, on: date) -> list[ModelSpec]:
        """The vision models that are not retired on that day."""
        return [m for m in self._by_id.values() if m.vision and not is_retired(m, on)]


def is_retired(model: ModelSpec, on: date) -> bool:
    """Whether the provider has switched the model off by that day."""
    return model.retired_on is not None and model.retired_on <= on


def parse_catalogue(*documents: Mapping[str, Any], file: str) -> Catalogue:
    """Build the catalogue from parsed `models.yaml` documents, later rows over earlier ones.

    Raises:
        ConfigError: A row has an unknown key or a value out of bounds; names file, row and key.
    """
    models = []
    for document in documents:
        rows = document.get("models") or []
        if not isinstance(rows, list):
            raise ConfigError(f"{file}: models: expected a list of rows, found {rows!r}")
        for number, row in enumerate(rows):
            try:
                models.append(ModelSpec.model_validate(row))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join([f"{file}: models[{number}]", *map(str, first["loc"])])
                raise ConfigError(f"{where}: {first['msg']} (got {first['input']!r})") from None
    return Catalogue(models)
