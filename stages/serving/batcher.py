"""Requests that come close together are answered as one batch.

A batch starts as soon as the model is free. It waits a few milliseconds, and only while other requests of the
model are still arriving: a client alone never waits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
CLOSE_POLL_S = 0.02


class Batcher(Generic[Item, Answer]):
    """Puts items into batches for `answer`, which gives one answer an item, in order."""

    def __init__(
        self, answer: Callable[[list[Item]], Awaitable[list[Answer]]], max_batch: int, max_wait_s: float
    ) -> None:
        """Take what answers a batch; `start` begins."""
        self._answer, self._max_batch, self._max_wait_s = answer, max_batch, max_wait_s
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._changed = asyncio.Event()
        self._arriving = 0
        self.open = 0  # requests that have begun and not ended
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    @contextlib.contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Hold the batcher open for a request; the function yielded says that its item has arrived."""
        self._arriving += 1
        self.open += 1
        left = False

        def arrived() -> None:
            nonlocal left
            if not left:
                left = True
                self._arriving -= 1
                self._changed.set()

        try:
            yield arrived
        finally:
            arrived()
            self.open -= 1
            self._changed.set()

    async def ask(self, item: Item) -> Answer:
        """Return the answer to one item; what `answer` raises is raised for each of its batch."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._changed.set()
        return await future

    async def close(self) -> None:
        """Let the requests that have begun end, then stop."""
        while self.open:
            await asyncio.sleep(CLOSE_POLL_S)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                answers = await self._answer([item for item, _ in batch])
            except asyncio.CancelledError:
                raise
            except Exception as error:  # it belongs to those who asked
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    async def _next_batch(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._max_wait_s):
                while len(self._waiting) < self._max_batch and self._arriving:
                    self._changed.clear()
                    await self._changed.wait()
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
        return [(item, future) for item, future in taken if not future.done()] or await self._next_batch()
