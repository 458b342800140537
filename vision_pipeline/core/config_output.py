"""The part of the configuration that says where the table and the replies go."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vision_pipeline.core.config_rules import check_variable
from vision_pipeline.core.config_section import Section, at
from vision_pipeline.core.databases import check_ledger


class OutputConfig(Section):
    """Where the table goes."""

    path: str = Field(min_length=1, description="Folder; local or a URL.", json_schema_extra=at(0))
    shard_size: int = Field(
        default=500, ge=1, le=100_000, description="Items per file.", json_schema_extra=at(1)
    )
    ledger: str | None = Field(
        default=None,
        min_length=1,
        description="Paid replies: a local file, or postgresql://user@host/database for several "
        "machines; null: ledger.sqlite in the output folder.",
        json_schema_extra=at(2),
    )
    ledger_password_env: str | None = Field(
        default=None,
        description="Environment variable with the database's password; null: PGPASSWORD or "
        "~/.pgpass.",
        json_schema_extra=at(3),
    )

    @model_validator(mode="after")
    def _keeps_no_secret(self) -> Self:
        if self.ledger is not None:
            check_ledger(self.ledger)
        check_variable("ledger_password_env", self.ledger_password_env)
        return self
