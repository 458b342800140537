"""The question that a run asks of every item: all that changes the answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
        return _digest(
            "question",
            self.template.sha256,
            self.model,
            dict(self.decoding),
            dict(self.preparation),
            self.endpoint,
        )

    def ask(self, text: str, images: Sequence[VisionImage]) -> VisionRequest:
        """The request for one item: the rendered text, then the images in order."""
        system = self.template.system
        identities = [_identity(image) for image in images]
        tokens = USER_FRAME_TOKENS + text_tokens(text)
        if system:
            tokens += SYSTEM_FRAME_TOKENS + text_tokens(system)
        tokens += sum(self.image_tokens(image) for image in images)
        return VisionRequest(
            idempotency_key=_digest(self.sha256, text, identities),
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
    # The digest is of the source bytes: re-encoding with a new Pillow must not orphan the ledger.
    if not isinstance(image, PreparedImage):
        return f"url:{image.url}"
    page = "" if image.page is None else f"#page={image.page}"
    return image.source_sha256 + page


def _digest(*parts: object) -> str:
    canonical = json.dumps([KEY_VERSION, *parts], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
