"""What a model in service recommends from: the items of its data set, placed once, and who rated them.

Items are looked up by the words of their titles, so that a person can say which are liked.

Shapes: N items, U users, H history, D dim, E D + 1: an item's appeal stands behind its vector, as its inner product
with a user's vector and a 1 is its score.
"""

import contextlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from stages.base.errors import InputError
from stages.models.catalogue import Rows, Vectors, write_rows, write_vectors
from stages.models.metrics.recommendation import K
from stages.models.tasks.recommend.parts import Placed
from stages.models.tasks.recommend.rated import NONE, Rated

SHELF = "shelf"  # folder, in a model's
ITEMS, USERS, SOUGHT = "items.arrow", "users.arrow", "sought.arrow"
CELLS = "cells"  # of a user, where any is told of
WHOLE, WITHOUT = "items", "items_without_"  # files of vectors, the latter before the modality that is left out
BATCH = 1024  # rows
TOLD = 3  # names in a message


@dataclass
class Shelf:
    """Items and users by number; `without` are the items placed with one of their modalities left out."""

    items: Rows  # id, title
    users: Rows  # name, the places of items that were seen, and of the latest that were liked; cells that are told
    sought: Rows  # the place of an item, its title and id as people look for them; the most rated first
    placed: Vectors
    without: dict[str, Vectors]
    length: int  # of a history

    @classmethod
    def open(cls, model: Path, length: int) -> Self:
        """Map the shelf in a model's folder.

        Raises:
            InputError: when a file of it is missing or damaged.
        """
        folder = model / SHELF
        parts = {path.stem.removeprefix(WITHOUT): path for path in sorted(folder.glob(f"{WITHOUT}*.npy"))}
        without = {modality: Vectors.open(path) for modality, path in parts.items()}
        items, users, sought = (Rows(folder / name) for name in (ITEMS, USERS, SOUGHT))
        return cls(items, users, sought, Vectors.open(vectors_of(model)), without, length)

    def find(self, text: str, limit: int) -> list[dict[str, str]]:
        """Return the first items whose title or id has all words of a text; titles that begin with it come first."""
        numbers = self.sought.having("words", _folded(text).strip(), limit)
        rows = (self.items[self.sought[number]["place"]] for number in numbers)
        return [{"item": row["id"], "title": row["title"]} for row in rows]

    def asked(self, given: Mapping[str, bytes | None]) -> dict[str, np.ndarray]:
        """Return the number of the user and the places of liked items, -1 for none.

        Raises:
            InputError: naming a user or an item that there is not.
        """
        name, liked = (_text(given.get(key)) for key in ("user", "liked"))
        user = self.users.find("name", name) if name else NONE
        if name and user == NONE:
            known = _such_as(self.users.first("name", TOLD))
            raise InputError(f"user {name!r} is not known; such as {known}, or give liked items instead")
        names = dict.fromkeys(_names(liked))
        places = [self.items.find("id", name) for name in names]
        for name, place in zip(names, places, strict=True):
            if place == NONE:
                known = _such_as(self.items.first("id", TOLD))
                raise InputError(f"liked: no item is called {name!r}; ids are wanted, such as {known}")
        if user != NONE:
            places += [place for place in self.users[user]["history"] if place not in places]
        filled = np.full(self.length, NONE)
        filled[: len(places[: self.length])] = places[: self.length]
        return {"user": np.array(user), "liked": filled}

    def cells(self, user: int) -> list[str | None]:
        """Return what is told of a user, by its number; empty where nothing is, as of -1."""
        return self.users[user].get(CELLS, []) if user != NONE else []

    def best(self, queries_BE: np.ndarray, usual_B: np.ndarray, asked: Sequence[tuple[int, list[int]]]) -> list[Any]:
        """Return for each user the best items that are not known yet, with their places and scores.

        Args:
            queries_BE: The users' vectors, and a 1 for the appeal.
            usual_B: What each says before anything is said of the item.
            asked: The number and the liked items of each.
        """
        scores_BK, places_BK = self.placed.best(queries_BE, K, [self._known(*one) for one in asked])
        answers = []
        for usual, scores_K, places_K in zip(usual_B, scores_BK, places_BK, strict=True):
            chosen = places_K[places_K != NONE].tolist()
            rows = [self.items[place] for place in chosen]
            answers.append(
                {
                    "items": [row["id"] for row in rows],
                    "titles": [row["title"] for row in rows],
                    "places": chosen,
                    "scores": [float(score + usual) for score in scores_K[: len(chosen)]],
                }
            )
        return answers

    def _known(self, user: int, liked: Sequence[int]) -> np.ndarray:
        """Return the places of items that need not be recommended."""
        seen = self.users[user]["seen"] if user != NONE else []
        return np.array([*seen, *(place for place in liked if place != NONE)], np.int64)


def vectors_of(model: Path) -> Path:
    """Return the file of the items' vectors in a model's folder."""
    return model / SHELF / f"{WHOLE}.npy"


def write_shelf(
    model: Path, rows: Sequence[Mapping[str, Any]], placed: Mapping[str, Placed], history: tuple[float, int]
) -> None:
    """Write the rows of a pool, and where its items are placed with each modality left out; "" for none.

    Args:
        model: The model's folder.
        rows: The pool's.
        placed: By what is left out.
        history: From which rating on an item counts as liked, and how many of them are looked at.
    """
    folder = model / SHELF
    folder.mkdir()
    rated = Rated(rows)
    seen = [rated.items_P[places] for places in rated.by_user(np.ones(len(rated.users_P), bool))]  # on whichever split
    histories = [places[places != NONE] for places in rated.histories(*history)]
    places = pa.list_(pa.int32())
    users = {"name": rated.names.tolist(), "seen": pa.array(seen, places), "history": pa.array(histories, places)}
    if rated.told:
        told = [rated.told.cells.get(name, []) for name in rated.names.tolist()]
        users[CELLS] = pa.array(told, pa.list_(pa.string()))
    items = {"id": [row["sample_id"] for row in rows], "title": [title_of(row) for row in rows]}
    order = np.argsort(-np.bincount(rated.items_P, minlength=len(rows)), kind="stable").tolist()
    words = [_folded(f"{items['title'][place]} {items['id'][place]}") for place in order]
    sought = {"place": pa.array(order, pa.int32()), "words": words}
    for name, columns in ((ITEMS, items), (USERS, users), (SOUGHT, sought)):
        write_rows(folder / name, pa.table(columns).to_batches(BATCH))
    for left, (vectors_ND, appeal_N) in placed.items():
        both_NE = np.column_stack([vectors_ND.cpu().numpy(), appeal_N.cpu().numpy()])
        write_vectors(folder / f"{WITHOUT}{left}.npy" if left else vectors_of(model), both_NE)


def title_of(row: Mapping[str, Any]) -> str:
    """Return what a person calls an item: its message, else its first text, else its id."""
    return row.get("message") or next(iter(row.get("texts") or ()), row["sample_id"])


def _text(data: bytes | None) -> str:
    return data.decode().strip() if data else ""


def _names(liked: str) -> list[str]:
    """Return the ids in a text: of a JSON list, or with commas or semicolons between."""
    if liked.startswith("["):
        with contextlib.suppress(ValueError):
            return [str(name) for name in json.loads(liked)]
    return [name.strip() for name in liked.replace(";", ",").split(",") if name.strip()]


def _folded(text: str) -> str:
    """Return a text as people look for it: without capitals and accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _such_as(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
