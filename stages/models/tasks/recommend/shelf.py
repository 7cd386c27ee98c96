"""What a model in service recommends from: the items of its data set, placed once, and who rated them.

Items are looked up by the words of their titles, so that a person can say which are liked.

Shapes: N items, U users, H history, D dim.
"""

import contextlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.base.store import SPLITS
from stages.models.metrics.recommendation import top
from stages.models.pool import ASKS
from stages.models.tasks.recommend.parts import Placed
from stages.models.tasks.recommend.rated import NONE, Rated

SHELF = "shelf.parquet"  # in a model's folder
VECTOR, APPEAL = "vector_without_", "appeal_without_"  # columns, before the modality that is left out
TOLD = 3  # names in a message


@dataclass
class Shelf:
    """Items and users by name; `without` are the items placed with one of their modalities left out."""

    ids: list[str]
    titles: list[str]
    placed: Placed
    without: dict[str, Placed]
    users: dict[str, int]
    numbers: Tensor  # (U,), by which the model knows them, -1 for those that training had not
    seen: np.ndarray  # (U, N)
    histories: np.ndarray  # (U, H)
    places: dict[str, int] = field(init=False)
    by_popularity: list[tuple[int, str]] = field(init=False, repr=False)  # place and folded title, the most rated first

    def __post_init__(self) -> None:
        """Number the items, and order them for those who look for some."""
        self.places = {name: place for place, name in enumerate(self.ids)}
        order = np.argsort(-self.seen.sum(0), kind="stable").tolist()
        self.by_popularity = [(place, _folded(f"{self.titles[place]} {self.ids[place]}")) for place in order]

    def find(self, text: str, limit: int) -> list[dict[str, str]]:
        """Return the first items whose title or id has all words of a text; titles that begin with it come first."""
        wanted = _folded(text).strip()
        found = [(place, title) for place, title in self.by_popularity if all(w in title for w in wanted.split())]
        found.sort(key=lambda item: not item[1].startswith(wanted))
        return [{"item": self.ids[place], "title": self.titles[place]} for place, _ in found[:limit]]

    def asked(self, given: Mapping[str, bytes | None]) -> dict[str, np.ndarray]:
        """Return the number of the user and the places of liked items, -1 for none.

        Raises:
            InputError: naming a user or an item that there is not.
        """
        user, liked = (_text(given.get(name)) for name in ("user", "liked"))
        if user and user not in self.users:
            raise InputError(f"user {user!r} is not known; such as {_such_as(self.users)}, or give liked items instead")
        names = _names(liked)
        for name in names:
            if name not in self.places:
                raise InputError(f"liked: no item is called {name!r}; ids are wanted, such as {_such_as(self.ids)}")
        length = self.histories.shape[1]
        places = [self.places[name] for name in dict.fromkeys(names)]
        if user:
            places += [place for place in self.histories[self.users[user]].tolist() if place not in (NONE, *places)]
        filled = np.full(length, NONE)
        filled[: len(places[:length])] = places[:length]
        return {"user": np.array(self.users.get(user, NONE)), "liked": filled}

    def best(self, scores_N: np.ndarray, known_N: np.ndarray) -> dict[str, Any]:
        """Return the best items that are not known yet, with their scores."""
        chosen = top(scores_N, ~known_N)
        return {
            "items": [self.ids[place] for place in chosen],
            "titles": [self.titles[place] for place in chosen],
            "scores": [float(scores_N[place]) for place in chosen],
        }

    def known(self, user: int, liked: Sequence[int]) -> np.ndarray:
        """Tell which items need not be recommended, (N,)."""
        known_N = self.seen[user].copy() if user >= 0 else np.zeros(len(self.ids), bool)
        known_N[[place for place in liked if place >= 0]] = True
        return known_N


def write_shelf(folder: Path, rows: Sequence[Mapping[str, Any]], placed: Mapping[str, Placed]) -> None:
    """Write the rows of a pool, and where its items are placed with each modality left out; "" for none."""
    lists = [f"rating_{kind}" for kind in ("users", "values", "times", "splits")]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("sample_id", *lists)}
    columns["title"] = [title_of(row) for row in rows]
    for left, (vectors_ND, appeal_N) in placed.items():
        columns[f"{VECTOR}{left}"], columns[f"{APPEAL}{left}"] = vectors_ND.tolist(), appeal_N.tolist()
    table = pa.table(columns)
    kinds = {f"{VECTOR}{left}": pa.list_(pa.float32()) for left in placed}
    kinds |= {f"{APPEAL}{left}": pa.float32() for left in placed}
    schema = pa.schema([pa.field(f.name, kinds.get(f.name, f.type)) for f in table.schema])
    pq.write_table(table.cast(schema), folder / SHELF, compression="zstd", write_statistics=False)


def read_shelf(folder: Path, history: tuple[float, int], known: Mapping[str, int], device: torch.device) -> Shelf:
    """Return the shelf in a model's folder; whatever a user rated, on whichever split, is known to that user.

    Args:
        folder: The model's.
        history: From which rating on an item counts as liked, and how many of them are looked at.
        known: The numbers by which the model knows users.
        device: Where the vectors go.
    """
    rows = [row | {ASKS: SPLITS[0]} for row in pq.read_table(folder / SHELF).to_pylist()]
    rated = Rated(rows)
    seen_UN = np.zeros((len(rated.names), len(rows)), bool)
    seen_UN[rated.users_P, rated.items_P] = True
    names = rated.names.tolist()
    placed = {}
    for column in (name for name in rows[0] if name.startswith(VECTOR)):
        left = column.removeprefix(VECTOR)
        vectors, appeal = ([row[f"{kind}{left}"] for row in rows] for kind in (VECTOR, APPEAL))
        placed[left] = torch.tensor(vectors, device=device), torch.tensor(appeal, device=device)
    return Shelf(
        [row["sample_id"] for row in rows],
        [row["title"] for row in rows],
        placed.pop(""),
        placed,
        {name: number for number, name in enumerate(names)},
        torch.tensor([known.get(name, NONE) for name in names]),
        seen_UN,
        rated.histories(*history),
    )


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


def _such_as(names: Any) -> str:
    return ", ".join(map(repr, list(names)[:TOLD])) or "none"
