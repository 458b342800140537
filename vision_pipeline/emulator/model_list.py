"""The models that the emulator knows: who may be asked, and what `GET /v1/models` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any

from vision_pipeline.core.models import Catalogue, ModelSpec, is_retired
from vision_pipeline.core.tokens import DEFAULT_RULE, TokenRule
from vision_pipeline.emulator.problems import invalid_request, unknown_model

_DEFAULT_CONTEXT_TOKENS = 262_144  # 256k, that of all living vision models but one
_DEFAULT_MAX_IMAGES = 8  # vision FAQ; nine were refused in tests against the API
_DEFAULT_TEMPERATURE = 0.3  # seen for mistral-small-2603


@dataclass(frozen=True, slots=True)
class AskedModel:
    """The model of one request.

    Attributes:
        asked_as: The id or alias in the request.
        model_id: Whose quota is used.
        rule: How image tokens are counted.
        max_images: The most that one request may carry.
        headers: What an answer says about the model's retirement.
    """

    asked_as: str
    model_id: str
    rule: TokenRule
    max_images: int
    headers: dict[str, str]


class ModelList:
    """Models by id and alias; an empty catalogue knows every name.

    Args:
        catalogue: The rows of `models.yaml`.
        today: What day it is; decides which models are retired.
    """

    def __init__(self, catalogue: Catalogue, *, today: Callable[[], date]) -> None:
        self._catalogue = catalogue
        self._today = today
        self._knows_all = not any(True for _ in catalogue)

    def ask(self, name: str, *, has_images: bool) -> AskedModel:
        """The model of that id or alias.

        Raises:
            RefusalError: 400 if it is unknown or sees no images, 404 if it is retired.
        """
        model = self._catalogue.find(name)
        if model is None:
            if self._knows_all:
                return AskedModel(name, name, DEFAULT_RULE, _DEFAULT_MAX_IMAGES, {})
            raise unknown_model(HTTPStatus.BAD_REQUEST, name)
        if is_retired(model, self._today()):
            raise unknown_model(HTTPStatus.NOT_FOUND, name)
        if has_images and not model.vision:
            raise invalid_request(f"Model {name} does not support image input")
        return AskedModel(name, model.id, model.rule, model.max_images, _retirement(model))

    def cards(self) -> dict[str, Any]:
        """All models that are not retired, as the API lists them."""
        living = [model for model in self._catalogue if not is_retired(model, self._today())]
        return {"object": "list", "data": [_card(model) for model in living]}

    def card(self, name: str) -> dict[str, Any]:
        """One model by id or alias.

        Raises:
            RefusalError: 404 if it is unknown or retired.
        """
        model = self._catalogue.find(name)
        if model is None or is_retired(model, self._today()):
            raise unknown_model(HTTPStatus.NOT_FOUND, name)
        return _card(model)


def _retirement(model: ModelSpec) -> dict[str, str]:
    if model.retired_on is None:
        return {}
    return {"x-model-deprecation-timestamp": f"{model.retired_on.isoformat()}T00:00:00Z"}


def _card(model: ModelSpec) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": "mistralai",
        "name": model.id,
        "description": "Emulated on this machine",
        "max_context_length": model.context_tokens or _DEFAULT_CONTEXT_TOKENS,
        "aliases": list(model.aliases),
        "deprecation": _retirement(model).get("x-model-deprecation-timestamp"),
        "deprecation_replacement_model": model.replacement,
        "default_model_temperature": _DEFAULT_TEMPERATURE,
        "type": "base",
        "capabilities": {
            "completion_chat": True,
            "completion_fim": False,
            "function_calling": False,
            "fine_tuning": False,
            "vision": model.vision,
            "ocr": False,
            "classification": False,
            "moderation": False,
            "audio": False,
            "audio_transcription": False,
            "reasoning": False,
        },
    }
