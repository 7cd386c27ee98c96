"""What users think of samples: the lists of a row, what of all of them a person should know, and who the users are."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.store import SPLITS, USER_COLUMNS, USERS_FILE, write_json
from stages.media.columns import Columns, learnt
from stages.samples.fields import find_habits
from stages.sources.base import Rating, RawSample, Users


def rating_columns(ratings: Sequence[Rating]) -> dict[str, list[Any]]:
    """Return the lists of a row, in order of time.

    Raises:
        ValueError: when a rating is on no split or no number, or a user rated the sample twice.
    """
    ordered = sorted(ratings, key=lambda rating: (rating.time, rating.user))
    for rating in ordered:
        if rating.split not in SPLITS or not math.isfinite(rating.value):
            raise ValueError(f"rating {rating}: expected a number and a split, one of {', '.join(SPLITS)}")
    again = [user for user, count in Counter(rating.user for rating in ordered).items() if count > 1]
    if again:
        raise ValueError(f"rated twice by {again[0]!r}")
    return {
        "rating_users": [rating.user for rating in ordered],
        "rating_values": [rating.value for rating in ordered],
        "rating_times": [rating.time for rating in ordered],
        "rating_splits": [rating.split for rating in ordered],
    }


def write_users(folder: Path, users: Users, min_count: int) -> tuple[list[dict[str, str]], list[str]]:
    """Write what is told of the users who rate a prepared sample; return quarantine rows, and lines for a person.

    How columns are written, and what is usual in them, is decided by those who rate in training.
    """
    raters: dict[str, bool] = {}  # whether in training
    for path in sorted(folder.glob("*-*.parquet")):
        rated = pq.read_table(path, columns=["rating_users", "rating_splits"]).to_pylist()
        for row in rated:
            for user, split in zip(row["rating_users"] or (), row["rating_splits"] or (), strict=True):
                raters[user] = raters.get(user, False) or split == SPLITS[0]
    known = {
        user: RawSample(f"user {user}", SPLITS[0] if raters[user] else None, fields=dict(users.cells[user]))
        for user in sorted(raters)
        if user in users.cells
    }
    habits = find_habits(users.kinds, known.values())
    read, wrong = dict[str, list[str | None]](), list[dict[str, str]]()
    for user, raw in known.items():
        normal, faults = habits.read(raw)
        read[user] = list((normal.fields or {}).values())
        wrong += faults
    of_training = [read[user] for user in known if raters[user]]
    columns = Columns(
        learnt(name, habit, [cell for cells in of_training if (cell := cells[place]) is not None], min_count)
        for place, (name, habit) in enumerate(habits.by_name.items())
    )
    write_json(folder / USER_COLUMNS, columns.dump())
    pq.write_table(
        pa.table({"user": list(read), "cells": pa.array(read.values(), pa.list_(pa.string()))}), folder / USERS_FILE
    )
    counts = f"{len(read)} of {len(raters)} who rate are told of; {len(users.cells) - len(read)} others rate nothing"
    kinds = ", ".join(f"{column.name} ({column.habit.kind})" for column in columns.columns)
    return wrong, [f"users: {kinds}: {counts}", *habits.lines()]


@dataclass
class Ratings:
    """What is told of the ratings: how many on which split, and who and what is new on the later ones."""

    by_split: Counter[str] = field(default_factory=Counter)
    users: dict[str, set[str]] = field(default_factory=lambda: {split: set() for split in SPLITS})
    items: Counter[str] = field(default_factory=Counter)  # with a rating, by split; those without one in training
    cold: Counter[str] = field(default_factory=Counter)
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        values = row["rating_values"]
        self.total += sum(values)
        self.least, self.most = min(self.least, *values), max(self.most, *values)
        self.by_split.update(row["rating_splits"])
        for user, known in zip(row["rating_users"], row["rating_splits"], strict=True):
            self.users[known].add(user)
        there = set(row["rating_splits"])
        self.items.update(there)
        if SPLITS[0] not in there:
            self.cold.update(there)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        number, everyone = self.by_split.total(), set().union(*self.users.values())
        counts = "/".join(str(self.by_split[split]) for split in SPLITS)
        yield (
            f"ratings: {number} by {len(everyone)} users, {self.least:g} to {self.most:g}, "
            f"mean {self.total / number:.2f} ({'/'.join(SPLITS)}): {counts}"
        )
        for split in SPLITS[1:]:
            new = self.users[split] - self.users[SPLITS[0]]
            if self.by_split[split]:
                yield (
                    f"ratings of {split}: {len(new)} of {len(self.users[split])} users and {self.cold[split]} of "
                    f"{self.items[split]} samples have none in training"
                )
