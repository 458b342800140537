"""Where a ledger is kept that is no file, and that no secret stands in its address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

_SCHEMES = frozenset({"postgresql", "postgres"})
_SECRETS = frozenset({"password", "sslpassword"})
_IN_ADDRESS = re.compile(r"(://[^/\s:@]*):[^@\s]*@")
_IN_QUERY = re.compile(r"([?&]\w*password=)[^&\s]*", re.IGNORECASE)
_EXAMPLE = "postgresql://user@host/database"


@dataclass(frozen=True, slots=True)
class Database:
    """A database that several machines may share.

    Attributes:
        url: Without a password, so that it may stand in logs, messages and run files.
        password: Where neither the environment nor a password file has it.
    """

    url: str
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url


def is_database(location: str) -> bool:
    """Whether a ledger's place is a database's URL."""
    return _scheme(location) in _SCHEMES


def without_passwords(text: str) -> str:
    """A text in which passwords of addresses are blotted out, as far as they can be told."""
    return _IN_QUERY.sub(r"\1***", _IN_ADDRESS.sub(r"\1:***@", text))


def check_ledger(location: str) -> None:
    """See that a ledger can be kept there, and that the place holds no secret.

    Raises:
        ValueError: It is another URL than a database's, or has a password in it; says neither.
    """
    scheme = _scheme(location)
    if scheme is None:
        return
    if scheme not in _SCHEMES:
        raise ValueError(f"`ledger` is a local file, or a database such as {_EXAMPLE}")
    try:
        parts = urlsplit(location)
    except ValueError:
        raise ValueError(f"`ledger` is no address of a database, such as {_EXAMPLE}") from None
    asked = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    # By hand: the address may name several hosts, of which Python's parser knows nothing.
    if ":" in parts.netloc.rpartition("@")[0] or asked & _SECRETS:
        raise ValueError(
            "`ledger` may hold no password: it is taken from PGPASSWORD, ~/.pgpass, or the "
            "variable that `ledger_password_env` names"
        )


def _scheme(location: str) -> str | None:
    scheme, mark, _ = location.partition("://")
    return scheme.lower() if mark else None
