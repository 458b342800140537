"""The shape of a run's configuration: every key, its bounds and its default."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from vision_pipeline.core.config_batch import BatchConfig
from vision_pipeline.core.config_budget import BudgetConfig
from vision_pipeline.core.config_images import ImageConfig, SourceConfig
from vision_pipeline.core.config_output import OutputConfig
from vision_pipeline.core.config_rules import (
    INT64_MAX,
    OWN_FIELDS,
    check_address,
    check_variable,
    fits_json,
)
from vision_pipeline.core.config_section import MAX_BYTES, Section, at


class ModelConfig(Section):
    """Who answers, and how."""

    provider: Literal["mistral", "openai", "emulator"] = Field(
        default="mistral",
        description="`openai` is any server that speaks its API; `emulator` runs on this machine.",
        json_schema_extra=at(0),
    )
    name: str = Field(
        default="mistral-small-2603",
        min_length=1,
        description="Model id; dated ids do not move.",
        json_schema_extra=at(1),
    )
    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Server address up to and including /v1; null: the provider's own.",
        json_schema_extra=at(2),
    )
    engine: Literal["ocr", "synthetic"] = Field(
        default="ocr",
        description="What answers behind the emulator: reads text, or makes up data.",
        json_schema_extra=at(3),
    )
    temperature: float | None = Field(
        default=0.0, ge=0, le=1.5, description="null: the model's own.", json_schema_extra=at(4)
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="null: the model's own.", json_schema_extra=at(5)
    )
    max_tokens: int = Field(
        default=1000,
        ge=1,
        le=10_000_000,
        description="Longest answer; a longer one is an error row.",
        json_schema_extra=at(6),
    )
    random_seed: int | None = Field(
        default=None,
        ge=0,
        le=INT64_MAX,
        description="For answers that can be had again; null: none is sent.",
        json_schema_extra=at(7),
    )
    extra_body: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further fields of the request body, such as {reasoning_effort: high}.",
        json_schema_extra=at(8),
    )
    api_key_env: str | None = Field(
        default=None,
        description="Environment variable with the key; null: the provider's usual one.",
        json_schema_extra=at(9),
    )
    api_key_block: str | None = Field(
        default=None, description="Prefect Secret block with the key.", json_schema_extra=at(10)
    )

    @model_validator(mode="after")
    def _known_server(self) -> Self:
        check_address(self.base_url)
        for field in sorted(OWN_FIELDS & self.extra_body.keys()):
            raise ValueError(f"`extra_body.{field}` is set by the pipeline or a key of its own")
        if not fits_json(self.extra_body):
            raise ValueError("`extra_body` has an integer beyond 64 bits")
        check_variable("api_key_env", self.api_key_env)
        if self.provider == "openai" and self.base_url is None:
            raise ValueError("provider `openai` needs `base_url`, such as http://localhost:8000/v1")
        return self


def _rate(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError:  # one complaint instead of one for each member of the union
        raise ValueError(f"{value!r} is not allowed; allowed: auto, or at least 1") from None


Rate = Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=MAX_BYTES)], WrapValidator(_rate)]


class SharedQuotaConfig(Section):
    """A quota that several processes use, kept for them by a Prefect server."""

    model_config = ConfigDict(title="Shared")

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Of the quota, the same in all recipes that use it; null: it is not shared.",
        json_schema_extra=at(0),
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="What one process takes of it while the Prefect server is away.",
        json_schema_extra=at(1),
    )


class LimitsConfig(Section):
    """What the provider allows."""

    requests_per_minute: Rate = Field(
        default="auto",
        description="auto: learn from the provider's headers.",
        json_schema_extra=at(0),
    )
    tokens_per_minute: Rate = Field(
        default="auto",
        description="auto: learn from the provider's headers.",
        json_schema_extra=at(1),
    )
    max_in_flight: int = Field(
        default=64, ge=1, le=1024, description="Most requests at once.", json_schema_extra=at(2)
    )
    shared: SharedQuotaConfig = Field(default_factory=SharedQuotaConfig, json_schema_extra=at(3))

    @model_validator(mode="after")
    def _shared_in_numbers(self) -> Self:
        if self.shared.name is None:
            return self
        if self.shared.share is None:
            raise ValueError(
                "`shared.name` needs `shared.share`: what one process takes of the quota while the "
                "Prefect server is away, such as 0.25 where there are 4"
            )
        for field in ("requests_per_minute", "tokens_per_minute"):
            if getattr(self, field) == "auto":
                raise ValueError(
                    f"`{field}` is auto, and a shared quota needs a number: the whole of what all "
                    "processes may use together; where there is no limit, one that never binds, "
                    "such as 1000000000"
                )
        return self


class RetryConfig(Section):
    """How long a request is tried; refusals by rate limit are waited out and do not count."""

    max_attempts: int = Field(
        default=6, ge=1, le=100, description="Attempts for one item.", json_schema_extra=at(0)
    )
    max_elapsed_s: float = Field(
        default=600,
        ge=0,
        description="Longest outage that is waited out before the run stops.",
        json_schema_extra=at(1),
    )
    timeout_s: float = Field(
        default=180, gt=0, description="Longest wait for one reply.", json_schema_extra=at(2)
    )


class AlertsConfig(Section):
    """When a scheduled run ends as failed, so that somebody looks: more errors than both allow."""

    max_error_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Largest share of a run's rows that may be errors; 1: never an alert.",
        json_schema_extra=at(0),
    )
    max_errors: int = Field(
        default=2,
        ge=0,
        description="So many errors are never an alert, however few the rows.",
        json_schema_extra=at(1),
    )

    def are_due(self, *, rows: int, errors: int) -> bool:
        """Whether that many errors among that many rows need a person."""
        return errors > self.max_errors and errors > self.max_error_share * rows


class ExecutionConfig(Section):
    """Where the shards of a run are worked on."""

    mode: Literal["realtime", "batch"] = Field(
        default="realtime",
        description="realtime: ask at once; batch: by the provider's Batch API, for a part of the "
        "price and within a day.",
        json_schema_extra=at(0),
    )
    runner: Literal["threads", "dask", "ray"] = Field(
        default="threads",
        description="threads: in this process; dask, ray: in several, also on other machines.",
        json_schema_extra=at(1),
    )
    address: str | None = Field(
        default=None,
        min_length=1,
        description="Of a Dask scheduler or a Ray cluster; null: processes on this machine.",
        json_schema_extra=at(2),
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Processes, where none are there already; null: one a core.",
        json_schema_extra=at(3),
    )


class RunConfig(Section):
    """One recipe: which images, which question, which model, where the table goes."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Short name of the recipe.",
        json_schema_extra=at(0),
    )
    source: SourceConfig = Field(json_schema_extra=at(1))
    prompt: str = Field(
        min_length=1,
        description="Name of a prompt template, or the path of one.",
        json_schema_extra=at(2),
    )
    model: ModelConfig = Field(default_factory=ModelConfig, json_schema_extra=at(3))
    image: ImageConfig = Field(default_factory=ImageConfig, json_schema_extra=at(4))
    limits: LimitsConfig = Field(default_factory=LimitsConfig, json_schema_extra=at(5))
    retry: RetryConfig = Field(default_factory=RetryConfig, json_schema_extra=at(6))
    budget: BudgetConfig = Field(default_factory=BudgetConfig, json_schema_extra=at(7))
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, json_schema_extra=at(8))
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig, json_schema_extra=at(9))
    batch: BatchConfig = Field(default_factory=BatchConfig, json_schema_extra=at(10))
    output: OutputConfig = Field(json_schema_extra=at(11))

    @model_validator(mode="after")
    def _links_are_listed(self) -> Self:
        if self.image.send == "url" and self.source.manifest is None:
            raise ValueError("image.send: url needs a source.manifest that lists public URLs")
        return self

    @model_validator(mode="after")
    def _several_keep_one_quota(self) -> Self:
        runner = self.execution.runner
        if runner == "threads":
            if self.execution.address or self.execution.workers:
                raise ValueError("execution: `address` and `workers` are for runner dask or ray")
        elif self.execution.mode == "batch":
            raise ValueError(
                f"execution.mode: batch needs one process only: use runner threads, not {runner}"
            )
        elif self.limits.shared.name is None:
            raise ValueError(
                f"execution.runner: {runner} has several processes, each with a client of its own: "
                "name the quota that they share in limits.shared"
            )
        elif limits := self.budget.limits():
            raise ValueError(
                f"execution.runner: {runner} cannot watch budget.{next(iter(limits))} over several "
                "processes; use runner threads, or limit the run by source.limit"
            )
        return self
