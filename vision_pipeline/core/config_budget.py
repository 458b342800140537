"""The config's section on spending."""

from __future__ import annotations

from pydantic import Field

from vision_pipeline.core.config_section import Section, at


class BudgetConfig(Section):
    """What may be spent: by a run, and by all runs of the ledger in a month (UTC)."""

    usd: float | None = Field(
        default=None,
        gt=0,
        description="Stop a run before this is exceeded; needs a model with a known price.",
        json_schema_extra=at(0),
    )
    tokens: int | None = Field(
        default=None,
        ge=1,
        description="The same in tokens, input and output together; needs no price.",
        json_schema_extra=at(1),
    )
    usd_per_month: float | None = Field(
        default=None,
        gt=0,
        description="Of all runs in the ledger, in a calendar month in UTC.",
        json_schema_extra=at(2),
    )
    tokens_per_month: int | None = Field(
        default=None, ge=1, description="The same in tokens.", json_schema_extra=at(3)
    )

    def limits(self) -> dict[str, float]:
        """Those that are set, by key."""
        return {name: most for name, most in self if most is not None}
