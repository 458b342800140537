"""How one emulator behaves: address, engine, limits, latency, faults, and when that changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vision_pipeline.emulator.choices import (
    CHOICES,
    EngineName,
    LatencyModel,
    LimitKind,
    RateHeaderSet,
    RetryAfter,
)
from vision_pipeline.emulator.draws import check_rates
from vision_pipeline.emulator.script import Step

_MAX_PORT = 65_535
_DURATIONS = (
    *("latency_s", "slow_s", "burst_s"),
    *("batch_hour_s", "batch_queue_s", "batch_run_s", "batch_cancel_s", "batch_hidden_s"),
)
_COUNTS = ("requests_per_minute", "tokens_per_minute", "most_captured", "most_file_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """Everything that a running emulator can be told.

    Attributes:
        host: Address to listen on.
        port: 0 for a free one.
        engine: `ocr` reads the images, `synthetic` makes answers up that fit the schema.
        requests_per_minute: Per model; None for no limit, 0 refuses every request.
        tokens_per_minute: Per model; None for no limit, 0 refuses every request.
        limit_kind: `window` slides over 60 s, `second` slides over 1 s and holds a sixtieth,
            `bucket` refills continuously.
        burst_s: How many seconds' worth of the limits a bucket holds; 1 request and 1 token at
            least.
        rate_headers: Which headers tell about the limits.
        retry_after: How a refusal by the limits tells when the limit that refused would admit the
            next request; a limit of 0 never tells.
        latency_s: An answer leaves this long after its request came in, or as soon after as it
            is made.
        latency_model: `vendor` draws how long an answer takes, `latency_s` at least, and takes its
            time for errors too.
        slow_s: When the fault `slow` answers, seconds after the request.
        faults: Share of the requests, 0 to 1 a kind and at most 1 together for each target: chat
            requests, uploads, jobs, polls, lines and downloads; see `batch_faults.FAULTS_OF`.
        script: Changes of these settings while it runs.
        batch_hour_s: Seconds that an hour of a job's timeout or a file's expiry takes here.
        batch_queue_s: How long a job waits before it runs.
        batch_run_s: How long it runs, its lines spread evenly; longer if answering takes longer.
        batch_cancel_s: How long a job that runs goes on after it was asked to end.
        batch_hidden_s: How long the fault `job_hidden` hides a job that was made.
        most_file_bytes: The largest file that can be uploaded.
        seed: Decides the synthetic answers, ids, latencies and which requests meet a fault.
        api_key: The only bearer key accepted; None accepts any key that is not empty.
        url_images: Image bytes by `https` address: the emulator never reaches the network.
        capture: Keep the latest bodies and replies for `GET /_emulator/requests`.
        most_captured: How many of them.

    Raises:
        ValueError: A value is out of bounds or a fault kind is unknown; names what is allowed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    engine: EngineName = "synthetic"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    limit_kind: LimitKind = "window"
    burst_s: float = 1.0
    rate_headers: RateHeaderSet = "mistral"
    retry_after: RetryAfter = "none"
    latency_s: float = 0.0
    latency_model: LatencyModel = "constant"
    slow_s: float = 300.0
    faults: Mapping[str, float] = field(default_factory=dict)
    script: tuple[Step, ...] = ()
    batch_hour_s: float = 3600.0
    batch_queue_s: float = 1.0
    batch_run_s: float = 2.0
    batch_cancel_s: float = 1.0
    batch_hidden_s: float = 3.0
    most_file_bytes: int = 512 * 1024 * 1024
    seed: int = 0
    api_key: str | None = None
    url_images: Mapping[str, bytes] = field(default_factory=dict)
    capture: bool = False
    most_captured: int = 256

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} is not one of {', '.join(choices)}"
                )
        if not 0 <= self.port <= _MAX_PORT:
            raise ValueError(f"port: {self.port} is not within 0..{_MAX_PORT}")
        for name in _DURATIONS:
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name}: {seconds} is not a number of seconds >= 0")
        for name in _COUNTS:
            count = getattr(self, name)
            if count is not None and count < 0:
                raise ValueError(f"{name}: {count} is below 0")
        check_rates(self.faults)
