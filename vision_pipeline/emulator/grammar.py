"""Strict answer schemas: what the serving grammar accepts, and whether an answer fits.

The keywords and formats are those of llguidance, the grammar engine in Mistral's published serving
library; what it refuses is inferred from its documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import orjson

Schema = Mapping[str, Any] | bool

FORMATS = frozenset(
    {
        *("date-time", "time", "date", "duration"),
        *("email", "hostname", "ipv4", "ipv6", "uuid", "uri"),
    }
)
REFUSED_KEYWORDS = frozenset(
    {
        *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains"),
        *("dependencies", "dependentRequired", "dependentSchemas", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties", "$id", "$schema", "$dynamicRef"),
    }
)
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "additionalItems")


class GrammarError(ValueError):
    """A schema that cannot constrain an answer, or that no answer fits."""


class Grammar:
    """A schema that is known to be usable.

    Raises:
        GrammarError: It is not valid Draft 7, or uses what the grammar engine does not know.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        for part in _parts(schema):
            _check_part(part)
        try:
            self._validator = jsonschema_rs.Draft7Validator(dict(schema), validate_formats=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            first_line = str(error).partition("\n")[0]
            raise GrammarError(f"failed to compile JSON schema: {first_line}") from error

    def accepts(self, answer: object) -> bool:
        """Whether an answer fits the schema, formats included."""
        return self._validator.is_valid(answer)

    def resolve(self, reference: str) -> Schema:
        """The part of the schema that a local reference names.

        Raises:
            GrammarError: There is no such part.
        """
        found: Any = self.schema
        try:
            for step in reference.removeprefix("#").split("/")[1:]:
                name = unquote(step).replace("~1", "/").replace("~0", "~")
                found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, ValueError) as error:
            raise GrammarError(f"reference {reference!r} names nothing") from error
        if not isinstance(found, dict | bool):
            raise GrammarError(f"reference {reference!r} names no schema")
        return found


def compile_grammar(schema: Mapping[str, Any]) -> Grammar:
    """The grammar of a schema; the same schema is compiled once.

    Raises:
        GrammarError: The schema cannot be used.
    """
    return _compile(orjson.dumps(schema))


@lru_cache(maxsize=256)
def _compile(schema_json: bytes) -> Grammar:
    return Grammar(orjson.loads(schema_json))


def _check_part(part: Mapping[str, Any]) -> None:
    refused = [key for key in part if key in REFUSED_KEYWORDS and part[key] is not False]
    if refused:
        raise GrammarError(f"unimplemented keys: {sorted(refused)}")
    named = part.get("format", "date")
    if named not in FORMATS:
        raise GrammarError(f"unknown format: {named!r}")
    reference = part.get("$ref", "#")
    if not (isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))):
        raise GrammarError(f"only local references are possible, not {reference!r}")


def _parts(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for child in _children(schema):
            yield from _parts(child)


def _children(schema: Mapping[str, Any]) -> Iterator[object]:
    for key in _MAPS_OF_SCHEMAS:
        if isinstance(schema.get(key), dict):
            yield from schema[key].values()
    for key in (*_LISTS_OF_SCHEMAS, *_SCHEMAS):
        child = schema.get(key)
        yield from child if isinstance(child, list) else (child,)
