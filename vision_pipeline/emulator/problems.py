"""The error answers of the API, each in the shape that was seen on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from pydantic import ValidationError

_JSON = "application/json"
_LONGEST_ECHO = 200  # characters of a string that an error answer gives back
_MOST_ECHOED = 20  # entries of a list or an object that it gives back
_DEEPEST_ECHO = 3


class RefusalError(Exception):
    """A request that is answered with an error; carries the whole answer."""

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        media_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status}: {body[:200]!r}")
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = dict(headers or {})


def api_error(status: int, message: str, kind: str, code: str | None = None) -> RefusalError:
    """The error object that the API itself answers with; `kind` is its `type`."""
    return object_error(
        status,
        object="error",
        message=message,
        type=kind,
        param=None,
        code=code,
        raw_status_code=status,
    )


def object_error(status: int, **body: object) -> RefusalError:
    """An error object in one of the shapes of other years and routes."""
    return RefusalError(status, orjson.dumps(body))


def detail_error(status: int, detail: object) -> RefusalError:
    """The `{"detail": ...}` answer of the web framework behind the API."""
    return RefusalError(status, orjson.dumps({"detail": detail}))


def gateway_error(status: int, message: str) -> RefusalError:
    """The answer of the gateway in front of the API, in JSON."""
    body = {"message": message, "request_id": uuid4().hex}
    return RefusalError(status, orjson.dumps(body))


def gateway_text(status: int, text: str) -> RefusalError:
    """The answer of the gateway in front of the API, in plain text."""
    return RefusalError(status, text.encode(), media_type="text/plain")


def edge_page(status: int, title: str) -> RefusalError:
    """The HTML page of the network edge."""
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{status}: {title}</title></head>"
        f"<body><h1>{title}</h1><p>Error code {status}</p></body></html>"
    )
    return RefusalError(status, page.encode(), media_type="text/html")


def unauthorized() -> RefusalError:
    """401 for a missing or wrong key."""
    return detail_error(HTTPStatus.UNAUTHORIZED, "Invalid API Key")


def no_route() -> RefusalError:
    """404 for a path that the gateway does not know."""
    return gateway_error(HTTPStatus.NOT_FOUND, "no Route matched with those values")


def rate_limited(headers: Mapping[str, str] | None = None) -> RefusalError:
    """429 by the plan's limits; the headers say which, and on the wire no time to come back."""
    error = api_error(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded", "rate_limited", "1300")
    error.headers.update(headers or {})
    return error


def capacity_exceeded() -> RefusalError:
    """429 because the service is full, whatever the plan."""
    return api_error(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Service tier capacity exceeded for this model.",
        "service_tier_capacity_exceeded",
        "3505",
    )


def invalid_request(message: str, *, kind: str = "invalid_request_error") -> RefusalError:
    """400 for a body that is well formed but asks for something that cannot be."""
    return api_error(HTTPStatus.BAD_REQUEST, message, kind)


def unknown_model(status: int, name: str) -> RefusalError:
    """400 for a model that there is not, 404 for one that is retired.

    That a retired one has the same body as an unknown one is inferred.
    """
    return api_error(status, f"Invalid model: {name[:_LONGEST_ECHO]}", "invalid_model", "1500")


def too_large() -> RefusalError:
    """413 for a body that the gateway does not let through."""
    return gateway_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request size limit exceeded")


def invalid_file(message: str) -> RefusalError:
    """400 for an image that cannot be used.

    The type and code are those seen for a URL that cannot be fetched; that the same ones are used
    for images over a limit or in a wrong format is inferred, and so are those texts.
    """
    return api_error(HTTPStatus.BAD_REQUEST, message, "invalid_request_file", "3310")


def validation_errors(error: ValidationError, *, where: str = "body") -> RefusalError:
    """422 with all errors of a body or a query, long values cut so that no megabytes come back."""
    return detail_error(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        [
            _entry(details, where)
            for details in error.errors(include_url=False, include_context=False)
        ],
    )


def malformed_json(error: orjson.JSONDecodeError) -> RefusalError:
    """422 for a body that is no JSON."""
    entry = {
        "type": "json_invalid",
        "loc": ["body", error.pos],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": error.msg},
    }
    return detail_error(HTTPStatus.UNPROCESSABLE_ENTITY, [entry])


def _entry(details: Mapping[str, Any], where: str) -> dict[str, Any]:
    entry = {
        "type": details["type"],
        "loc": [where, *details["loc"]],
        "msg": details["msg"],
    }
    # An error of the body as a whole came without its input on the wire.
    return entry | {"input": _cut(details["input"])} if details["loc"] else entry


def _cut(value: object, depth: int = 0) -> object:
    match value:
        case str() if len(value) > _LONGEST_ECHO:
            return value[:_LONGEST_ECHO] + "..."
        case dict() | list() if depth >= _DEEPEST_ECHO:
            return "..."
        case dict():
            items = list(value.items())[:_MOST_ECHOED]
            return {str(_cut(key)): _cut(item, depth + 1) for key, item in items}
        case list():
            return _cut_list(value, depth)
        case _:
            return value


def _cut_list(values: Sequence[object], depth: int) -> list[object]:
    return [_cut(value, depth + 1) for value in values[:_MOST_ECHOED]]
