"""What a value of the configuration must be, beyond type and bounds."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import JsonValue

# Of the request body: what the pipeline writes, or could not read an answer to.
OWN_FIELDS = {
    "model",
    "messages",
    "response_format",
    "stream",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "random_seed",
}
INT64_MAX = 2**63 - 1  # JSON and Parquet hold no larger integer
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_address(url: str | None) -> None:
    """See that a server's address is one, and holds no secret.

    Raises:
        ValueError: It is none, or has a user or password in it.
    """
    if url is None:
        return
    wrong = ValueError("`base_url` is no address, such as http://localhost:8000/v1")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if not parts.hostname or port == 0 or re.search(r"\s", url):
        raise wrong
    if parts.username or parts.password:
        raise ValueError("`base_url` may hold no user or password; use `api_key_env`")


def check_variable(key: str, name: str | None) -> None:
    """See that what names a variable is a name, and not the secret itself.

    Raises:
        ValueError: It is none; says the key alone.
    """
    if name is not None and not _VARIABLE.fullmatch(name):
        raise ValueError(f"`{key}` is the name of a variable: letters, digits and _")


def fits_json(value: JsonValue) -> bool:
    """Whether every integer in it has at most 64 bits: JSON readers hold no larger one."""
    match value:
        case bool():
            return True
        case int():
            return -INT64_MAX <= value <= INT64_MAX
        case dict():
            return all(fits_json(each) for each in value.values())
        case list():
            return all(fits_json(each) for each in value)
        case _:
            return True
