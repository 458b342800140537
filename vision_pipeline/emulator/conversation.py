"""The rules of a conversation, and what it costs in tokens."""

from __future__ import annotations

from collections import OrderedDict

from vision_pipeline.core.tokens import (
    SYSTEM_FRAME_TOKENS,
    USER_FRAME_TOKENS,
    TokenRule,
    text_tokens,
)
from vision_pipeline.emulator.bodies import (
    AssistantMessage,
    ChatBody,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from vision_pipeline.emulator.chunks import ImageChunk, ReferenceChunk, TextChunk, ThinkingChunk
from vision_pipeline.emulator.images import ReceivedImage
from vision_pipeline.emulator.problems import invalid_request

_CACHE_BLOCK_TOKENS = 64  # cached tokens come in whole blocks (vendor's prompt-caching page)
_MOST_PREFIXES = 100_000
_KNOWN_CHUNKS = (TextChunk, ImageChunk, ThinkingChunk, ReferenceChunk)


def check_conversation(body: ChatBody) -> None:
    """Refuse what is well formed and still cannot be answered here.

    Raises:
        RefusalError: 400; a wrong order of messages as the API says it, the rest in our words.
    """
    last = body.messages[-1]
    is_turn_of_model = isinstance(last, UserMessage | ToolMessage)
    if not is_turn_of_model and not (isinstance(last, AssistantMessage) and last.prefix):
        raise invalid_request(
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
            f"{last.role}",
            kind="invalid_request_message_order",
        )
    if body.stream or (body.n or 1) > 1:
        raise invalid_request("This emulator gives one answer a request and does not stream")
    if not all(isinstance(chunk, _KNOWN_CHUNKS) for chunk in body.chunks()):
        raise invalid_request("This emulator takes text and images only")


def texts_of(body: ChatBody) -> tuple[str, ...]:
    """All texts of the conversation, in order."""
    return tuple(chunk.text for chunk in body.chunks() if isinstance(chunk, TextChunk))


def prefix_of(body: ChatBody) -> str:
    """The beginning of the answer that the caller has set; empty without one."""
    last = body.messages[-1]
    if not isinstance(last, AssistantMessage) or not isinstance(last.content, str):
        return ""
    return last.content


def count_prompt_tokens(body: ChatBody, images: tuple[ReceivedImage, ...], rule: TokenRule) -> int:
    """The input tokens of a request: images exactly, text as `text_tokens` counts it."""
    has_system = any(isinstance(message, SystemMessage) for message in body.messages)
    return (
        USER_FRAME_TOKENS
        + (SYSTEM_FRAME_TOKENS if has_system else 0)
        + sum(text_tokens(text) for text in texts_of(body))
        + sum(rule.tokens(image.width_px, image.height_px) for image in images)
    )


def cut_to(text: str, max_tokens: int) -> str:
    """The longest beginning of a text that has at most so many tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_tokens(text[:middle]) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


class PromptCache:
    """Which beginnings of prompts were seen before, by the caller's `prompt_cache_key`.

    The beginning is all text before the first image: that is what requests about different images
    have in common.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def cached_tokens(self, body: ChatBody, model_id: str) -> int:
        """The tokens that need not be read again, in whole blocks; remembers the prompt."""
        if body.prompt_cache_key is None:
            return 0
        beginning = _leading_text(body)
        entry = (model_id, body.prompt_cache_key, beginning)
        is_known = entry in self._seen
        self._seen[entry] = None
        self._seen.move_to_end(entry)
        if len(self._seen) > _MOST_PREFIXES:
            self._seen.popitem(last=False)
        blocks = text_tokens(beginning) // _CACHE_BLOCK_TOKENS
        return blocks * _CACHE_BLOCK_TOKENS if is_known else 0

    def reset(self) -> None:
        """Forget all prompts."""
        self._seen.clear()


def _leading_text(body: ChatBody) -> str:
    texts: list[str] = []
    for chunk in body.chunks():
        if isinstance(chunk, ImageChunk):
            break
        if isinstance(chunk, TextChunk):
            texts.append(chunk.text)
    return "\n".join(texts)
