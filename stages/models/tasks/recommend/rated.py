"""The ratings of a pool as arrays, and what is known of a user before the split that is asked about.

Shapes: N items of the pool, U users with any rating, A users who are asked about, P ratings, H places of a history.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from stages.base.store import SPLITS
from stages.models.pool import ASKS, USERS, UserCells

NONE = -1  # where a history, or a number, ends


class Rated:
    """The ratings that stand in the rows of a pool."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Read the lists of the rows."""
        lists = [[row.get(f"rating_{kind}") or [] for row in rows] for kind in ("users", "values", "times", "splits")]
        users, values, times, splits = ([value for found in column for value in found] for column in lists)
        self.num_items = len(rows)
        self.asks = SPLITS.index(rows[0][ASKS])
        self.told: UserCells | None = rows[0].get(USERS)
        self.items_P = np.repeat(np.arange(len(rows)), [len(found) for found in lists[0]])
        self.names, self.users_P = np.unique(np.array(users, dtype=str), return_inverse=True)
        self.values_P, self.times_P = np.array(values, np.float32), np.array(times, np.int64)
        self.splits_P = np.array([SPLITS.index(split) for split in splits], np.int64)

    @property
    def in_training(self) -> np.ndarray:
        """Tell which ratings may be learnt from, (P,)."""
        return self.splits_P == 0

    @property
    def asked(self) -> np.ndarray:
        """Tell which ratings are asked about, (P,)."""
        return self.splits_P == self.asks

    @cached_property
    def askers(self) -> np.ndarray:
        """Return the users with a rating that is asked about, (A,)."""
        return np.unique(self.users_P[self.asked])

    @cached_property
    def popularity(self) -> np.ndarray:
        """Return how many ratings in training each item has, (N,)."""
        return np.bincount(self.items_P[self.in_training], minlength=self.num_items)

    @cached_property
    def activity(self) -> np.ndarray:
        """Return how many ratings in training each user has, (U,)."""
        return np.bincount(self.users_P[self.in_training], minlength=len(self.names))

    @cached_property
    def mean(self) -> float:
        """Return the mean rating in training."""
        return float(self.values_P[self.in_training].mean())

    def by_user(self, chosen_P: np.ndarray) -> list[np.ndarray]:
        """Return the numbers of each user's ratings among those chosen, in order of items."""
        places = np.flatnonzero(chosen_P)
        order = places[np.argsort(self.users_P[places], kind="stable")]
        ends = np.cumsum(np.bincount(self.users_P[places], minlength=len(self.names)))
        return np.split(order, ends[:-1])

    def seen(self) -> np.ndarray:
        """Tell which items each user rated on an earlier split than the one asked about, (U, N)."""
        seen_UN = np.zeros((len(self.names), self.num_items), bool)
        before = self.splits_P < self.asks
        seen_UN[self.users_P[before], self.items_P[before]] = True
        return seen_UN

    def histories(self, liked: float, length: int) -> np.ndarray:
        """Return each user's latest items liked in training, (U, H), the latest first; -1 where there are no more."""
        found = np.full((len(self.names), length), NONE)
        for user, places in enumerate(self.by_user(self.in_training & (self.values_P >= liked))):
            latest = places[np.argsort(-self.times_P[places], kind="stable")][:length]
            found[user, : len(latest)] = self.items_P[latest]
        return found
