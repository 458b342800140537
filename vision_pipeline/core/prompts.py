"""A prompt template: front matter, text, and the answer that it promises."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_pipeline.core.config_file import parse_mapping
from vision_pipeline.core.errors import ConfigError, ErrorCode, ItemError
from vision_pipeline.core.schema import AnswerSchema, parse_schema
from vision_pipeline.core.suggestions import nearest

_FENCE = "---"


_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_TEMPLATE_FAULTS = (ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)


class FrontMatter(BaseModel):
    """The head of a template file."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    system: str | None = None
    schema_: dict[str, Any] | None = Field(alias="schema")
    min_images: int = Field(default=1, ge=1)
    max_images: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A question with holes for manifest columns.

    Attributes:
        name: File name without its ending.
        schema: The promised answer, or None for free text.
        variables: Names that the text uses without asking whether they are defined.
    """

    name: str
    version: str
    description: str
    system: str | None
    text: str
    schema: AnswerSchema | None
    min_images: int
    max_images: int
    variables: frozenset[str]
    file: str

    @property
    def sha256(self) -> str:
        """Digest of what the model is shown; version and description are ours alone."""
        schema = self.schema.document if self.schema else None
        shown = json.dumps([self.system, self.text, schema], ensure_ascii=False)
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()

    def check_columns(self, columns: Collection[str]) -> None:
        """Refuse a source that lacks a variable of the text.

        Raises:
            ConfigError: Names the template, the variable and the columns there are.
        """
        for missing in sorted(self.variables - set(columns)):
            there = ", ".join(columns) or "none"
            raise ConfigError(
                f"{self.file}: the text uses {{{{ {missing} }}}}, which is no manifest column"
                f"{nearest(missing, columns)}; columns: {there}"
            )

    def render(self, columns: Mapping[str, Any]) -> str:
        """The text for one item.

        Raises:
            ItemError: The template fails on these values, such as arithmetic on a null.
        """
        try:
            return _compiled(self.text).render(columns).strip()
        except (TemplateError, TypeError, ValueError) as error:
            detail = f"{self.file}: the text cannot be rendered: {error}"
            raise ItemError(ErrorCode.UNRENDERED_PROMPT, detail) from error
        except _TEMPLATE_FAULTS as error:
            detail = f"{self.file}: the text cannot be rendered: {type(error).__name__}: {error}"
            raise ItemError(ErrorCode.UNRENDERED_PROMPT, detail) from error


def parse_template(source: str, *, file: str) -> PromptTemplate:
    """Read a template file.

    Raises:
        ConfigError: Names file and place: front matter, schema or text.
    """
    head, text = _split(source, file=file)
    matter = _front_matter(head, file=file)
    schema = None
    if matter.schema_ is not None:
        schema = parse_schema(matter.schema_, where=f"{file}: schema")
    try:
        tree = _environment().parse(text)
        variables = _required(tree)
        _compiled(text.strip())
    except TemplateSyntaxError as error:
        line = head.count("\n") + error.lineno + 1
        raise ConfigError(f"{file}:{line}: not a valid template: {error.message}") from None
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise ConfigError(f"{file}: the text is nested too deeply: {error}") from None
    if next(tree.find_all(_OTHER_FILES), None) is not None:
        raise ConfigError(f"{file}: a template is one file: no include, import or extends")
    return PromptTemplate(
        name=file.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".md"),
        version=matter.version,
        description=" ".join(matter.description.split()),
        system=matter.system.strip() if matter.system else None,
        text=text.strip(),
        schema=schema,
        min_images=matter.min_images,
        max_images=max(matter.min_images, matter.max_images),
        variables=frozenset(variables),
        file=file,
    )


def _required(tree: nodes.Template) -> set[str]:
    names = meta.find_undeclared_variables(tree)
    guarded = {
        test.node.name
        for test in tree.find_all(nodes.Test)
        if test.name in {"defined", "undefined"} and isinstance(test.node, nodes.Name)
    }
    defaulted = {
        call.node.name
        for call in tree.find_all(nodes.Filter)
        if call.name in {"default", "d"} and isinstance(call.node, nodes.Name)
    }
    return names - guarded - defaulted


def _split(source: str, *, file: str) -> tuple[str, str]:
    lines = source.lstrip("\ufeff").splitlines(keepends=True)
    fences = [number for number, line in enumerate(lines) if line.rstrip() == _FENCE]
    match fences:
        case [0, end, *_]:
            head, text = "".join(lines[:end]), "".join(lines[end + 1 :])
        case _:
            raise ConfigError(f"{file}: expected front matter between two lines of {_FENCE}")
    if not text.strip():
        raise ConfigError(f"{file}: the text after the front matter is empty")
    return head, text


def _front_matter(head: str, *, file: str) -> FrontMatter:
    try:
        return FrontMatter.model_validate(parse_mapping(head, file=file))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        known = ["version", "description", "system", "schema", "min_images", "max_images"]
        if fault["type"] == "extra_forbidden":
            hint = f"unknown key{nearest(key, known)}; known: {', '.join(known)}"
        elif fault["type"] == "missing":
            hint = "required, but not set"
        else:
            hint = f"{fault['input']!r} is not allowed; allowed: {fault['msg']}"
        raise ConfigError(f"{file}: front matter: {key}: {hint}") from None


@functools.lru_cache(maxsize=16)
def _compiled(text: str) -> Template:
    # Compiling takes a hundred times as long as rendering, and a run renders one text.
    return _environment().from_string(text)


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        finalize=lambda value: "" if value is None else value,  # an empty cell is no word "None"
    )
