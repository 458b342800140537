"""Where an API is, and the key that never leaves with what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from urllib.parse import quote

import httpx
import orjson

from vision_pipeline.core.errors import AccessError, EndpointError

MASK = b"[key]"
_HEX = re.compile("%[0-9A-F]{2}")
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|/)")

# A key that somebody made up, "local" or "EMPTY", may be a word of an answer by chance.
MIN_SECRET_CHARS = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API is.

    Attributes:
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token; None for servers that want none.
        use_proxy: Whether the environment's proxy settings apply.
        transport: How to reach it, if not over the network.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    use_proxy: bool = True
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if "@" in self.base_url.partition("://")[2].partition("/")[0]:
            raise EndpointError(
                "model.base_url carries credentials, which a file must not hold; leave them out, "
                "and name the key's variable in model.api_key_env"
            )

    def authorization(self) -> dict[str, str]:
        """The header that carries the key; none for servers that want none.

        Raises:
            AccessError: The key cannot stand in a header.
        """
        if not self.api_key:
            return {}
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise AccessError("the API key has characters that no key has; was it copied whole?")
        return {"Authorization": f"Bearer {self.api_key}"}

    def without_key(self, content: bytes, *, min_key_chars: int = 6) -> bytes:
        """Content with the key taken out, however it is written: some servers repeat it.

        Args:
            content: What the server sent.
            min_key_chars: A shorter key stays: it is no secret, but might be a word.
        """
        if not self.api_key or len(self.api_key) < min_key_chars:
            return content
        for written in _spellings(self.api_key):
            content = content.replace(written, MASK)
        # Plain by now, but for escapes, which whoever reads the content undoes.
        if any(escape in content for escape in (b"\\u", b"\\/", b"&#")):
            plain = _unescaped(content)
            if self.api_key.encode() in plain:
                return plain.replace(self.api_key.encode(), MASK)
        return content


@lru_cache(maxsize=8)  # asked for with every line of a file of results
def _spellings(key: str) -> frozenset[bytes]:
    quoted = quote(key, safe="")
    lower = _HEX.sub(lambda found: found[0].lower(), quoted)
    return frozenset(written.encode() for written in (key, quoted, lower))


def _unescaped(content: bytes) -> bytes:
    """JSON written anew without needless escapes; other text with its escapes undone."""
    try:
        return orjson.dumps(orjson.loads(unescape(content.decode()).encode()))
    except (ValueError, RecursionError):
        text = _JSON_ESCAPE.sub(
            lambda found: chr(int(found[1], 16)) if found[1] else "/",
            content.decode(errors="replace"),
        )
        return unescape(text).encode(errors="replace")
