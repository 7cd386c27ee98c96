"""A data set read as one pool: whichever split is asked about, all samples are there to choose from.

Each row then names, as `asks`, the split whose ratings are asked about; on which split each rating is known stands in
the row. A sample without media stays in the pool: what is rated does not depend on what a model reads.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
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

    def numbers(self, names: Sequence[str], known: Columns) -> np.ndarray:
        """Return what a model reads of these users, float32 (U, F, V); what is not told is missing.

        `known` are the columns as the model has them: data that came later may have others, or other quantiles.
        """
        own = {(column.name, column.habit.kind): place for place, column in enumerate(self.columns.columns)}
        places = [own.get((column.name, column.habit.kind)) for column in known.columns]
        found = np.zeros((len(names), *known.shape), np.float32)
        for row, name in zip(found, names, strict=True):
            cells = self.cells.get(name)
            row[:] = known.numbers([cells[place] if cells and place is not None else None for place in places])
        return found


def with_users(prepared: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a pool with what the prepared data set tells of those who rate, if anything."""
    if not (prepared / USERS_FILE).exists():
        return list(rows)
    table = pq.read_table(prepared / USERS_FILE)
    cells = dict(zip(*(table[name].to_pylist() for name in ("user", "cells")), strict=True))
    told = UserCells(Columns.load(json.loads((prepared / USER_COLUMNS).read_text("utf8"))), cells)
    return [row | {USERS: told} for row in rows]


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
    whole = with_users(prepared, (row for rows in parts.values() for row in rows))
    return join_pool(reading, split, whole, found, device, limit_bytes)


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
