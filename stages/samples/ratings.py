"""What users think of samples: the lists of a row, and what of all of them a person should know."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.base.store import SPLITS
from stages.sources.base import Rating


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
