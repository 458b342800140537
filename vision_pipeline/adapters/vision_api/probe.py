"""Whether an API answers, and what it says of a model; without a paid call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from vision_pipeline.core.errors import AccessError, EndpointError
from vision_pipeline.core.protocol import excerpt
from vision_pipeline.transport.endpoint import Endpoint

PROBE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class ModelListing:
    """What `GET /models` says.

    Attributes:
        count: How many models it lists.
        listed: Whether the model is among them, by id or alias.
        vision: Whether it sees images; None where the server does not say.
    """

    count: int
    listed: bool
    vision: bool | None


def list_models(endpoint: Endpoint, model: str) -> ModelListing:
    """Ask a server for its models.

    Raises:
        EndpointError: It cannot be reached, or answers something else.
        AccessError: It refuses the key.
    """
    headers = endpoint.authorization()
    url = f"{endpoint.base_url.rstrip('/')}/models"
    try:
        with httpx.Client(trust_env=endpoint.use_proxy, timeout=PROBE_TIMEOUT_S) as client:
            response = client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = excerpt(endpoint.without_key(str(error).encode()))
        raise EndpointError(f"{url}: {type(error).__name__}: {said}") from error
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AccessError(f"{url}: the key is refused (HTTP {response.status_code})")
    try:
        models = [dict(row) for row in orjson.loads(response.content)["data"]]
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        said = f"HTTP {response.status_code}: {excerpt(endpoint.without_key(response.content))}"
        raise EndpointError(f"{url}: no list of models: {said}") from error
    mine = [row for row in models if model == row.get("id") or model in _listed(row, "aliases")]
    told = [row["capabilities"] for row in mine if isinstance(row.get("capabilities"), dict)]
    vision = told[0].get("vision") if told else None
    return ModelListing(count=len(models), listed=bool(mine), vision=vision)


def _listed(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    return value if isinstance(value, list) else []
