"""What an engine is asked, and what an engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from vision_pipeline.core.tokens import TokenRule
from vision_pipeline.emulator.grammar import Grammar
from vision_pipeline.emulator.images import ReceivedImage

AnswerForm = Literal["text", "json_object", "json_schema"]


@dataclass(frozen=True, slots=True)
class Question:
    """One request as an engine sees it.

    Attributes:
        images: In the order of the request.
        texts: All texts of the conversation, in order.
        form: What form the answer has to have.
        grammar: The schema that the answer has to fit; there exactly if `form` is `json_schema`.
        rule: At which size the model sees an image.
    """

    images: tuple[ReceivedImage, ...]
    texts: tuple[str, ...]
    form: AnswerForm
    grammar: Grammar | None
    rule: TokenRule


class Engine(Protocol):
    """Answers questions."""

    @property
    def name(self) -> str:
        """What replies name before the model that was asked for."""
        ...

    @property
    def workers(self) -> int:
        """How many questions it answers at a time, in threads; 0 for one that takes no time."""
        ...

    def answer(self, question: Question) -> str:
        """The text of the answer.

        Raises:
            GrammarError: No answer fits the schema.
            RefusalError: The engine cannot answer such a question, or an image is damaged.
        """
        ...
