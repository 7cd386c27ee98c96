"""Answers as they come (server-sent events): a long sound is told part by part, its first words before its last.

Events: `part`, what one part of the sound adds; `answer`, the whole as `predict` gives it; `problem`, where a later
part fails. A mistake in the request or its first part is refused as `predict` refuses it.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.sse import ServerSentEvent

from stages.serving.bodies.inputs import read_inputs
from stages.serving.errors import Refused
from stages.serving.served import Models
from stages.serving.version import Version


@dataclass
class Begun:
    """A request whose first part is answered, and the parts that follow."""

    version: Version
    request_id: str
    first: dict[str, Any]
    rest: AsyncIterator[dict[str, Any]]

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield each part as it is answered, then the whole."""
        told = [self.first]
        yield self._part(self.first)
        try:
            async for values in self.rest:
                told.append(values)
                yield self._part(values)
        except Refused as refused:
            error = {"code": refused.code, "message": refused.message, "request_id": self.request_id}
            yield ServerSentEvent(event="problem", data={"error": error})
            return
        whole = told[0] if len(told) == 1 else self.version.predictor.joined(told)
        card = self.version.card
        head = {"model": card.name, "version": card.version, "request_id": self.request_id}
        yield ServerSentEvent(event="answer", data=head | {"answer": self._shown(whole)})

    def _part(self, values: dict[str, Any]) -> ServerSentEvent:
        return ServerSentEvent(event="part", data=self._shown(values))

    def _shown(self, values: dict[str, Any]) -> dict[str, Any]:
        return {key: values.get(key) for key in self.version.predictor.task.answer_types}


async def begin(models: Models, request: Request, name: str) -> AsyncIterator[Begun]:
    """Read a request, answer its first part, and hold the model's version until the answer is sent.

    Raises:
        Refused: as `predict`.
    """
    served = models.get(name)
    request.state.model, request.state.version = name, served.version.card.version
    async with served.request() as asking:
        inputs = await read_inputs(request, (i.name for i in served.version.card.inputs))
        async with aclosing(asking.ask_parts(inputs)) as parts:  # where the client goes, no later part is answered
            yield Begun(served.version, request.state.request_id, await anext(parts), parts)
