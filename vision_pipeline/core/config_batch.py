"""The part of the configuration that says how requests go to the provider's Batch API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vision_pipeline.core.config_section import Section, at

Stragglers = Literal["realtime", "batch", "error"]


class BatchConfig(Section):
    """How requests are handed over, and what becomes of those that a job leaves unanswered."""

    max_requests: int = Field(
        default=5000,
        ge=1,
        le=50_000,
        description="Most requests in one job.",
        json_schema_extra=at(0),
    )
    max_file_bytes: int = Field(
        default=150_000_000,
        ge=1_000_000,
        le=512_000_000,
        description="Largest file of requests; one that is larger by itself goes alone.",
        json_schema_extra=at(1),
    )
    max_inline_requests: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="So few requests go without a file, where the provider takes that.",
        json_schema_extra=at(2),
    )
    timeout_h: int = Field(
        default=24,
        ge=1,
        le=168,
        description="What the provider may take for a job; then it gives up.",
        json_schema_extra=at(3),
    )
    wait_s: float | None = Field(
        default=None,
        ge=0,
        description="Longest wait for the jobs in one process, which then ends and can be "
        "repeated; null: until they are done.",
        json_schema_extra=at(4),
    )
    poll_s: float = Field(
        default=30,
        ge=0.01,
        le=3600,
        description="Longest time between two looks at a job.",
        json_schema_extra=at(5),
    )
    stragglers: Stragglers = Field(
        default="batch",
        description="Requests that a job leaves unanswered, and second turns for answers that "
        "cannot be used: asked in further jobs, at once at the full price, or not at all.",
        json_schema_extra=at(6),
    )
    keep_files: bool = Field(
        default=False,
        description="Leave the files at the provider once they are collected.",
        json_schema_extra=at(7),
    )
