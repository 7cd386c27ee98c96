"""The models in service: each answers in batches, and follows its alias without losing a request."""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.params import ServeParams
from stages.registry.registry import CHAMPION
from stages.serving.batcher import Batcher
from stages.serving.errors import Refused
from stages.serving.metrics import Metrics
from stages.serving.version import Place, Version, load_version

ADDRESS = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))$")
PARTS_AHEAD = 3  # of a long sound that are decoded and answered before those before them are sent
DECODERS = 2  # threads that decode media ahead of the model
RETRY_LOAD_S = 60.0  # after a version could not be loaded

log = logging.getLogger("fuseline.serve")


@dataclass
class Answer:
    """An answer, and the version that gave it."""

    version: Version
    values: dict[str, Any]


class Served:
    """One version at work: decoding in threads, answering in batches on a thread of its own."""

    def __init__(self, version: Version, params: ServeParams, metrics: Metrics, threads: "Threads") -> None:
        """Take a loaded version; `start` begins."""
        self.version, self._params, self._metrics, self._threads = version, params, metrics, threads
        self._batcher: Batcher[dict[str, Any], dict[str, Any]] = Batcher(
            self._answer, params.max_batch, params.max_wait_ms / 1e3
        )
        self._seconds_each = 0.05  # smoothed, for Retry-After

    def start(self) -> None:
        """Begin to answer."""
        self._batcher.start()

    async def close(self) -> None:
        """Let begun requests end, then let go of the files."""
        await self._batcher.close()
        if self.version.folder:
            self.version.folder.cleanup()

    @contextlib.asynccontextmanager
    async def request(self) -> AsyncIterator["Asking"]:
        """Admit a request.

        Raises:
            Refused: 503 when too many wait.
        """
        if self._batcher.open >= self._params.max_queue:
            wait = max(1, math.ceil(self._batcher.open * self._seconds_each))
            raise Refused(503, "busy", f"{self.version.card.name}: too many requests wait; try again", wait)
        gauge = self._metrics.open.labels(self.version.card.name)
        with gauge.track_inprogress(), self._batcher.request() as arrived:
            yield Asking(self, arrived)

    async def ask(self, sample: dict[str, bytes | None], arrived: Any) -> Answer:
        """Answer one sample.

        Raises:
            Refused: 422 for input that cannot be used, 503 when it takes too long.
        """
        told = [values async for values in self.ask_parts(sample, arrived)]
        return Answer(self.version, told[0] if len(told) == 1 else self.version.predictor.joined(told))

    async def ask_parts(self, sample: dict[str, bytes | None], arrived: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Answer a sample part by part, in order, such as a long sound; a few are worked on ahead.

        Raises:
            Refused: as `ask`; it takes too long where no part is answered for that time.
        """
        find = getattr(self.version.predictor, "parts", None)  # which versions from before there were parts lack
        parts = await self._in_time(self._decode(find, sample)) if find else [None]
        waiting: deque[asyncio.Future[dict[str, Any]]] = deque()
        try:
            for place in range(len(parts) + PARTS_AHEAD):
                if place < len(parts):
                    waiting.append(asyncio.ensure_future(self._ask_part(sample, parts[place], arrived)))
                if place >= PARTS_AHEAD:
                    yield await self._in_time(waiting.popleft())
        finally:
            for left in waiting:
                left.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask_part(self, sample: dict[str, bytes | None], part: Any, arrived: Any) -> dict[str, Any]:
        read = await self._decode(self.version.predictor.read, part.sample if part else sample)
        asked = asyncio.ensure_future(self._batcher.ask(read))
        arrived()
        return part.told(await asked) if part else await asked

    async def _decode(self, function: Callable[..., Any], sample: dict[str, bytes | None]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads.decoders, function, sample)

    async def _in_time(self, waited: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._params.max_seconds):
                return await waited
        except self.version.wrong_input as error:
            raise Refused(422, "unusable_input", str(error)) from None
        except TimeoutError:
            message = f"no answer within {self._params.max_seconds:g} s"
            raise Refused(503, "too_slow", message, math.ceil(self._params.max_seconds)) from None

    async def _answer(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        start = time.monotonic()
        loop = asyncio.get_running_loop()
        name = self.version.card.name
        answers = await loop.run_in_executor(self._threads.of(name), self.version.predictor.answer, batch)
        self._metrics.batch.labels(name).observe(len(batch))
        self._seconds_each += 0.1 * ((time.monotonic() - start) / len(batch) - self._seconds_each)
        return answers


@dataclass
class Asking:
    """An admitted request; `ask` once its input is complete."""

    served: Served
    _arrived: Any

    async def ask(self, sample: dict[str, bytes | None]) -> Answer:
        """Answer the sample; see `Served.ask`."""
        return await self.served.ask(sample, self._arrived)

    def ask_parts(self, sample: dict[str, bytes | None]) -> AsyncGenerator[dict[str, Any], None]:
        """Answer the sample part by part; see `Served.ask_parts`."""
        return self.served.ask_parts(sample, self._arrived)


class Threads:
    """Threads that outlive versions: decoders for all, one for each model's batches, one for loading."""

    def __init__(self) -> None:
        """Make those that are shared."""
        self.decoders = ThreadPoolExecutor(DECODERS, "decode")
        self.loader = ThreadPoolExecutor(1, "load")
        self._models: dict[str, ThreadPoolExecutor] = {}

    def of(self, name: str) -> ThreadPoolExecutor:
        """Return the thread of a model."""
        if name not in self._models:
            self._models[name] = ThreadPoolExecutor(1, f"model-{name}")
        return self._models[name]

    def close(self) -> None:
        """End them."""
        for pool in (self.decoders, self.loader, *self._models.values()):
            pool.shutdown(wait=False, cancel_futures=True)


class Models:
    """All models in service by name; `follow` keeps them at the versions that their aliases point to."""

    def __init__(self, mlflow_client: Any, params: ServeParams) -> None:
        """Take the registry's client and the section `serve`."""
        self._client, self.params = mlflow_client, params
        self.metrics, self.threads = Metrics(), Threads()
        self._served: dict[str, Served] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._failed: dict[Place, float] = {}
        self.ready = False

    def cards(self) -> list[Any]:
        """Return what people see of each model, by name."""
        return [self._served[name].version.card for name in sorted(self._served)]

    def get(self, name: str) -> Served:
        """Return the model of this name.

        Raises:
            Refused: 404 when there is none.
        """
        if name not in self._served:
            there = ", ".join(sorted(self._served)) or "none yet"
            raise Refused(404, "no_such_model", f"no model is called {name[:80]!r}; there are: {there}")
        return self._served[name]

    async def follow(self) -> None:
        """Load the models, then look for moved aliases again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.params.refresh_seconds)

    async def refresh(self) -> None:
        """Bring every model to the version that it should have; what fails is logged, and the old one stays."""
        loop = asyncio.get_running_loop()
        try:
            places = await loop.run_in_executor(self.threads.loader, self.places)
            self.metrics.registry_up.set(1)
        except InputError as error:  # such as an alias that was taken away
            log.warning("%s; versions stay", error)
            return
        except Exception as error:  # the store's clients raise many kinds; the versions here go on answering
            self.metrics.registry_up.set(0)
            log.warning("registry does not answer, versions stay: %s", str(error).splitlines()[0][:200])
            return
        for place in places:
            await self._bring(place)
        self.ready = self.ready or all(place.name in self._served for place in places)

    async def _bring(self, place: Place) -> None:
        current = self._served.get(place.name)
        if current and current.version.card.version == place.version:
            return
        if time.monotonic() - self._failed.get(place, -math.inf) < RETRY_LOAD_S:
            return
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self.threads.loader, load_version, self._client, place)
        except Exception as error:  # whatever is wrong with a new version, the old one goes on
            self._failed[place] = time.monotonic()
            log.error("%s cannot be loaded: %s", place, str(error) or repr(error))
            return
        served = Served(version, self.params, self.metrics, self.threads)
        served.start()
        self._served[place.name] = served
        self.metrics.version.labels(place.name).set(int(place.version))
        log.info("%s answers", place)
        if current:
            self.metrics.swaps.labels(place.name).inc()
            task = asyncio.create_task(current.close())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def places(self) -> list[Place]:
        """Return where each model should be, asking the registry where aliases point."""
        addresses = self.params.models or [
            f"models:/{model.name}@{CHAMPION}"
            for model in self._client.search_registered_models()
            if CHAMPION in self._client.get_registered_model(model.name).aliases
        ]
        return [resolve(self._client, address) for address in addresses]

    async def close(self) -> None:
        """Let every begun request end, then end the threads."""
        await asyncio.gather(*(served.close() for served in self._served.values()), *self._retiring)
        self.threads.close()


def resolve(mlflow_client: Any, address: str) -> Place:
    """Return the version that an address names.

    Raises:
        InputError: when it is no address, or the registry has no such model, version or alias.
    """
    if (Path(address) / "MLmodel").is_file():
        return Place(Path(address).resolve().name, "0", folder=Path(address))
    match = ADDRESS.match(address)
    if not match:
        raise InputError(
            f"{address}: expected models:/<name>@<alias>, models:/<name>/<version> or the folder of a packed model"
        )
    name, alias, version = match.groups()
    if not mlflow_client.search_registered_models(f"name = '{name}'"):
        raise InputError(f"{address}: no model of this name is registered")
    if alias:
        known = mlflow_client.get_registered_model(name).aliases
        if alias not in known:
            raise InputError(f"{address}: no version is {alias}; there are the aliases {', '.join(known) or 'none'}")
        return Place(name, str(known[alias]), alias)
    if not mlflow_client.search_model_versions(f"name = '{name}' and version_number = '{version}'"):
        raise InputError(f"{address}: no such version")
    return Place(name, version)
