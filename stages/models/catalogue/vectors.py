"""Vectors in a file, and which of them are nearest to a query.

Shapes: N vectors, Q queries, D width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from stages.base.errors import InputError
from stages.models.catalogue.exact import Found, best_by_blocks
from stages.models.catalogue.index import Index
from stages.models.catalogue.rows import AGAIN


def write_vectors(path: Path, vectors_ND: np.ndarray) -> None:
    """Write vectors as float32."""
    np.save(path, np.ascontiguousarray(vectors_ND, np.float32), allow_pickle=False)


def mapped(path: Path) -> np.ndarray:
    """Map a file of numbers.

    Raises:
        InputError: when it is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)  # private: torch wants what may be written
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {AGAIN}") from None


class Vectors:
    """Vectors that are memory-mapped, with their index where one was built."""

    def __init__(self, vectors_ND: np.ndarray, index: Index | None = None) -> None:
        """Take them."""
        self._vectors_ND, self.index = vectors_ND, index

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a file of vectors, and its index.

        Raises:
            InputError: when either is missing or damaged.
        """
        vectors_ND = mapped(path)
        return cls(vectors_ND, Index.open(path, vectors_ND))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._vectors_ND)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors at places of any shape (..., D)."""
        return np.asarray(self._vectors_ND[places])

    def best(self, queries_QD: np.ndarray, k: int, without: Sequence[np.ndarray] = ()) -> Found:
        """Return those with the largest inner product with each query; see `best_by_blocks`."""
        if self.index is None:
            return best_by_blocks(self._vectors_ND, queries_QD, k, without)
        left_out = without if len(without) else [np.array([], np.int64)] * len(queries_QD)
        pairs = zip(queries_QD, left_out, strict=True)
        scores, places = zip(*(self.index.best(query_D, k, places) for query_D, places in pairs), strict=True)
        return np.stack(scores), np.stack(places)
