"""Items of a model that recommends: how they look, and those that someone looks for."""

from typing import Any
from urllib.parse import quote

from stages.serving.bodies.schemas import Item
from stages.serving.errors import Refused
from stages.serving.version import Version

SHOWN = ("image", "audio")


def looks(version: Version, answer: dict[str, Any]) -> dict[str, list[dict[str, str | None]]]:
    """Return how each recommended item looks; nothing of other answers, and where a version has no pictures."""
    if version.posters is None or "items" not in answer:
        return {}
    return {"looks": [_look(version, item) for item in answer["items"]]}


def items_of(version: Version, search: str, limit: int) -> list[Item]:
    """Return the first items whose titles have all words of a search.

    Raises:
        Refused: 422 where the version recommends nothing, or is from before its items could be looked for.
    """
    if version.card.num_items is None:
        raise Refused(422, "no_items", f"{version.card.name} has no items that can be looked for")
    found = version.predictor.task.shelf.find(search, limit)
    return [Item.model_validate(item | _look(version, item["item"])) for item in found]


def _look(version: Version, item: str) -> dict[str, str | None]:
    """Return a text of an item, and the addresses of its picture and its sound; None for what there is not."""
    media, text = version.posters.of(item) if version.posters else ([], "")
    base = f"/models/{quote(version.card.name, safe='')}/gallery/{quote(item, safe='')}"
    return {"text": text or None} | {name: f"{base}/{name}" if name in media else None for name in SHOWN}
