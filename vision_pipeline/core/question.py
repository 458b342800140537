"""The question that a run asks of every item: all that changes the answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vision_pipeline.core.prompts import PromptTemplate
from vision_pipeline.core.records import PreparedImage, Turn, VisionImage, VisionRequest
from vision_pipeline.core.tokens import (
    SYSTEM_FRAME_TOKENS,
    USER_FRAME_TOKENS,
    TokenRule,
    text_tokens,
)

# Part of every key: raise it when the same settings come to mean another request.
KEY_VERSION = 1


@dataclass(frozen=True)
class Question:
    """Template, model and settings, with the digests that come of them.

    Attributes:
        model: The model's name as the user wrote it.
        decoding: Fields of the request body that shape the answer: temperature, max_tokens, …
        preparation: Settings that shape the image as sent.
        endpoint: Whose answer it is: the provider, or a server's address.
        rule: The image-token rule of the model.
    """

    template: PromptTemplate
    model: str
    decoding: Mapping[str, Any]
    preparation: Mapping[str, Any]
    endpoint: str
    rule: TokenRule

    @cached_property
    def sha256(self) -> str:
        """Digest of the question without an item: equal digests, equal questions."""
        return _digest("question", self.template.sha256, *self._whom_and_how())

    @cached_property
    def unshaped_sha256(self) -> str:
        """Digest of the question but for the schema of its answer.

        Where it is equal, a reply to the one question may be read as an answer to the other.
        """
        template = self.template
        return _digest("unshaped", template.system, template.text, *self._whom_and_how())

    def _whom_and_how(self) -> tuple[object, ...]:
        return self.model, dict(self.decoding), dict(self.preparation), self.endpoint

    def ask(self, text: str, images: Sequence[VisionImage]) -> VisionRequest:
        """The request for one item: the rendered text, then the images in order."""
        system = self.template.system
        tokens = USER_FRAME_TOKENS + text_tokens(text)
        if system:
            tokens += SYSTEM_FRAME_TOKENS + text_tokens(system)
        tokens += sum(self.image_tokens(image) for image in images)
        return VisionRequest(
            idempotency_key=item_key(self.sha256, text, map(_identity, images)),
            system=system,
            text=text,
            images=tuple(images),
            estimated_tokens=tokens,
        )

    def image_tokens(self, image: VisionImage) -> int:
        """Input tokens of one image; the most possible for one whose size is not known here."""
        if isinstance(image, PreparedImage):
            return self.rule.tokens(image.width_px, image.height_px)
        return self.rule.tokens(self.rule.max_side_px, self.rule.max_side_px)


def item_key(question_sha256: str, text: str, identities: Iterable[str]) -> str:
    """The idempotency key of a question about an item.

    Args:
        question_sha256: The question.
        text: As rendered for the item.
        identities: One an image, in order, as `content_identity` and `link_identity` give them.
    """
    return _digest(question_sha256, text, list(identities))


def content_identity(source_sha256: str, page: int | None) -> str:
    """What stands for an image that is read here: its content."""
    # The digest is of the source bytes: re-encoding with a new Pillow must not orphan the ledger.
    return source_sha256 + ("" if page is None else f"#page={page}")


def link_identity(url: str) -> str:
    """What stands for an image that the provider fetches itself."""
    return f"url:{url}"


def repair(request: VisionRequest, *, reply_text: str, complaint: str) -> VisionRequest:
    """The same question once more, with the unusable reply and what is wrong with it."""
    turn = Turn(reply_text=reply_text, complaint=complaint)
    return replace(
        request,
        idempotency_key=_digest(request.idempotency_key, reply_text, complaint),
        estimated_tokens=request.estimated_tokens
        + text_tokens(reply_text)
        + text_tokens(complaint_text(complaint))
        + USER_FRAME_TOKENS,
        turns=(*request.turns, turn),
    )


def complaint_text(complaint: str) -> str:
    """What the model is told about an unusable reply."""
    return (
        f"This answer cannot be used: {complaint}. "
        "Answer again, in the form that was asked for and with nothing around it."
    )


def _identity(image: VisionImage) -> str:
    if isinstance(image, PreparedImage):
        return content_identity(image.source_sha256, image.page)
    return link_identity(image.url)


def _digest(*parts: object) -> str:
    canonical = json.dumps([KEY_VERSION, *parts], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
