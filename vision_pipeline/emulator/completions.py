"""Chat completions as such: what may be asked and what is answered, over whichever way it came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from vision_pipeline.emulator.answers import MadeReply, envelope
from vision_pipeline.emulator.bodies import ChatBody
from vision_pipeline.emulator.conversation import check_conversation
from vision_pipeline.emulator.effects import Effect
from vision_pipeline.emulator.images import ReceivedImage, check_count, receive
from vision_pipeline.emulator.model_list import AskedModel, ModelList
from vision_pipeline.emulator.question import Engine
from vision_pipeline.emulator.replies import Replies
from vision_pipeline.emulator.settings import EmulatorSettings

# From this size on a body is handled in a thread; below, the hop costs more than the work.
LARGE_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A body of a known shape, and the model that it asks."""

    body: ChatBody
    model: AskedModel


class Completions:
    """Judges bodies and makes replies; knows no limits, no latency and no connections.

    Args:
        settings: Seed, and images by address.
        models: Who may be asked.
        engine: Who answers.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        models: ModelList,
        *,
        engine: Engine,
        clock: Callable[[], float],
    ) -> None:
        self.models = models
        self.workers = engine.workers
        # The time of day is counted on by the clock, which may be a test's.
        self.epoch_s = time.time() - clock()
        self._clock = clock
        self._replies = Replies(engine)
        self._url_images = settings.url_images
        self._seed = settings.seed
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after the start."""
        self._replies.reset()
        self._ids = Random(self._seed)

    def close(self) -> None:
        """Give up what waits for the engine."""
        self._replies.close()

    def ask(self, body: ChatBody) -> Asked:
        """Find the model.

        Raises:
            RefusalError: It is unknown or retired, or sees no images.
        """
        return Asked(body, self.models.ask(body.model, has_images=bool(body.image_urls())))

    async def images(self, asked: Asked, *, is_large: bool) -> tuple[ReceivedImage, ...]:
        """The images of a body that can be answered.

        Raises:
            RefusalError: The conversation or an image cannot be answered.
        """
        check_conversation(asked.body)
        urls = asked.body.image_urls()
        check_count(len(urls), most=asked.model.max_images)
        return await asyncio.to_thread(self._receive, urls) if is_large else self._receive(urls)

    async def make(
        self, asked: Asked, images: tuple[ReceivedImage, ...], effect: Effect | None
    ) -> MadeReply:
        """The reply, as its fault leaves it.

        Raises:
            RefusalError: 400 for a schema that cannot be used; or what the engine says.
        """
        return await self._replies.make(asked.body, asked.model, images, effect)

    def envelope(self, asked: Asked, made: MadeReply) -> bytes:
        """The JSON of the reply, with an id of its own."""
        return envelope(
            made,
            model_name=f"{self._replies.engine_name}/{asked.model.asked_as}",
            reply_id=f"{self._ids.getrandbits(128):032x}",
            created=int(self.epoch_s + self._clock()),
        )

    def _receive(self, urls: list[str]) -> tuple[ReceivedImage, ...]:
        return tuple(receive(url, self._url_images) for url in urls)
