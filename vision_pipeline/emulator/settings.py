"""How one emulator behaves: address, engine, limits, latency and faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from vision_pipeline.emulator.faults import check_rates

EngineName = Literal["ocr", "synthetic"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """Everything that a running emulator can be told.

    Attributes:
        host: Address to listen on.
        port: 0 for a free one.
        engine: `ocr` reads the images, `synthetic` makes answers up that fit the schema.
        requests_per_minute: Per model; None for no limit, 0 refuses every request.
        tokens_per_minute: Per model; None for no limit, 0 refuses every request.
        latency_s: An answer leaves this long after its request came in, or as soon after as it
            is made.
        faults: Share of the requests, 0 to 1 a kind and at most 1 together; see `faults.FAULTS`.
        seed: Decides the synthetic answers and which requests meet a fault.
        api_key: The only bearer key accepted; None accepts any key that is not empty.
        url_images: Image bytes by `https` address: the emulator never reaches the network.
        capture: Keep the latest bodies and replies for `GET /_emulator/requests`.

    Raises:
        ValueError: A value is out of bounds or a fault kind is unknown; names what is allowed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    engine: EngineName = "synthetic"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    latency_s: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    api_key: str | None = None
    url_images: Mapping[str, bytes] = field(default_factory=dict)
    capture: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINE_NAMES:
            raise ValueError(f"engine: {self.engine!r} is not one of {', '.join(ENGINE_NAMES)}")
        if not 0 <= self.port <= _MAX_PORT:
            raise ValueError(f"port: {self.port} is not within 0..{_MAX_PORT}")
        if not (math.isfinite(self.latency_s) and self.latency_s >= 0):
            raise ValueError(f"latency_s: {self.latency_s} is not a number of seconds >= 0")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise ValueError(f"{name}: {limit} is below 0")
        check_rates(self.faults)
