"""A data set read as one pool: whichever split is asked about, all samples are there to choose from.

Each row then names, as `asks`, the split whose ratings are asked about; on which split each rating is known stands in
the row. A sample without media stays in the pool: what is rated does not depend on what a model reads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import FEATURES, SPLITS, USER_COLUMNS, USERS_FILE, artifact_path, read_manifest
from stages.media.columns import Cells, Columns
from stages.models.tables import FeatureTable, Reading, Split, load_split, read_index, read_rows

ASKS, USERS = "asks", "users"  # keys of a row of a pool: a split, and what is told of who rates, the same in each
Found = dict[
    str, tuple[np.ndarray, list[list[int]]]
]  # by modality, features and the places in them of each row's media


@dataclass(frozen=True)
class UserCells:
    """What is told of those who rate: the columns, and by user the normalised cells."""

    columns: Columns
    cells: Mapping[str, Cells]

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return what a model reads of these users, float32 (U, F, V); all is missing of who is not known."""
        nothing = self.columns.numbers([None] * len(self.columns.columns))
        found = [self.columns.numbers(self.cells[name]) if name in self.cells else nothing for name in names]
        return np.stack(found) if found else np.zeros((0, *nothing.shape), np.float32)


def read_users(prepared: Path) -> UserCells | None:
    """Return what a prepared data set tells of those who rate; None where it tells nothing."""
    if not (prepared / USERS_FILE).exists():
        return None
    table = pq.read_table(prepared / USERS_FILE)
    cells = dict(zip(*(table[name].to_pylist() for name in ("user", "cells")), strict=True))
    return UserCells(Columns.load(json.loads((prepared / USER_COLUMNS).read_text("utf8"))), cells)


@dataclass(frozen=True)
class Pool(Reading):
    """What an experiment reads whose samples are all in one pool."""


def load(reading: Reading, split: str, device: Device, limit_bytes: float) -> Split:
    """Read one split, or the pool of which its ratings are asked about.

    Raises:
        InputError: when an artifact is missing or incomplete, there is nothing to ask, or the two do not match.
    """
    if not isinstance(reading, Pool):
        return load_split(reading, split, device, limit_bytes)
    prepared = artifact_path("prepare", reading.dataset)
    read_manifest(prepared)
    parts = {part: read_rows(prepared, part, ["sample_id", *reading.columns]) for part in SPLITS}
    found: Found = {}
    for modality, name in reading.inputs.items():
        ids = {part: [row["sample_id"] for row in rows] for part, rows in parts.items()}
        places = [place for part in SPLITS for place in read_index(name, part, ids[part], prepared)]
        found[modality] = np.load(artifact_path("features", name) / FEATURES, mmap_mode="c"), places
    users = read_users(prepared)
    rows = [row | ({USERS: users} if users else {}) for rows in parts.values() for row in rows]
    return join_pool(reading, split, rows, found, device, limit_bytes)


def join_pool(
    reading: Reading, split: str, rows: list[dict[str, Any]], features: Found, device: Device, limit_bytes: float
) -> Split:
    """Join the rows of a whole data set with their features, as `tables.join_split` does those of a split.

    Raises:
        InputError: when the data set has no ratings, or none on the split.
    """
    if not any(row.get("rating_users") for row in rows):
        raise InputError(
            f"data set {reading.dataset} has no ratings, which the task needs: of its source, or its users"
        )
    if not any(split in row["rating_splits"] for row in rows):
        raise InputError(
            f"data set {reading.dataset}: no rating is on the split {split}; raise its val_fraction and test_fraction "
            "where its source has them, or choose another rule of its split"
        )
    tables = {
        modality: FeatureTable(array, places, device, limit_bytes) for modality, (array, places) in features.items()
    }
    return Split([row | {ASKS: split} for row in rows], tables, reading.several)
