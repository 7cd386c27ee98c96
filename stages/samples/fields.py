"""The fields of samples: how the columns of a data set are written, their cells normalised, what training has there.

How a column is written is decided by its first training cells, `LOOKED_AT` at most; statistics are of all that are
kept of the training split. A cell that is not of its column's kind is missing, and named in the quarantine.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.base.store import FIELDS
from stages.media.columns import Column, Columns, days_of, learnt
from stages.media.fields.kinds import DATE, Habit, habit_of, is_missing, normalised
from stages.sources.base import Fault, RawSample

LOOKED_AT = 20_000  # training samples
MOST_NAMED = 8  # categories in a line
BARS, HEIGHTS = 16, "▁▂▃▄▅▆▇█"


@dataclass
class Habits:
    """How each column is written, and what of it was decided."""

    by_name: dict[str, Habit] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)

    def read(self, raw: RawSample) -> tuple[RawSample, list[dict[str, str]]]:
        """Return a sample with a normalised cell for each column, and rows of the quarantine for the others."""
        if not self.by_name:
            return raw, []
        cells: dict[str, str | None] = {}
        wrong = []
        for name, habit in self.by_name.items():
            cell = (raw.fields or {}).get(name)
            there = None if cell is None or is_missing(cell) else cell
            cells[name] = None if there is None else normalised(there, habit)
            if there is not None and cells[name] is None:
                reason = f"{name} is no {_kind(habit)}, the cell counts as empty"
                wrong.append({"where": f"{raw.sample_id} {there!r:.60}", "reason": reason})
        return replace(raw, fields=cells), wrong

    def lines(self) -> Iterator[str]:
        """Say what was decided of columns."""
        for name, told in self.told.items():
            yield from (f"{name}: {text}" for text in told)


def _kind(habit: Habit) -> str:
    return habit.kind + (f" of {habit.unit}" if habit.unit else "")


@dataclass
class Told:
    """What is told of the fields of a data set: each column's cells, simply."""

    columns: Columns
    cells: list[list[str]] = field(default_factory=list)
    rows: int = 0

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.cells = [[] for _ in self.columns.columns]

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        self.rows += 1
        for found, cell in zip(self.cells, row[FIELDS], strict=True):
            if cell is not None:
                found.append(cell)

    def lines(self) -> Iterator[str]:
        """Say what was found, column by column."""
        yield f"fields: {len(self.cells)} columns of {self.rows} samples"
        for column, cells in zip(self.columns.columns, self.cells, strict=True):
            unit = f" of {column.habit.unit}" if column.habit.unit else ""
            empty = f", {self.rows - len(cells)} empty" if len(cells) < self.rows else ""
            yield f"{FIELDS}: {column.name}: {column.habit.kind}{unit}{_spread(column, cells)}{empty}"


def _spread(column: Column, cells: list[str]) -> str:
    """Say how the cells of a column are spread: the commonest, or from least to most with a small picture."""
    if not cells:
        return ""
    if column.cardinality:
        counts = Counter(cells)
        named = ", ".join(f"{name} {n}" for name, n in counts.most_common(MOST_NAMED))
        more = f", and {len(counts) - MOST_NAMED} more" if len(counts) > MOST_NAMED else ""
        unknown = sum(n for name, n in counts.items() if not column.knows(name))
        rare = f"; {unknown} are of none that training has often enough" if unknown else ""
        return f", {len(counts)} different: {named}{more}{rare}"
    of_dates = column.habit.kind == DATE
    values = np.sort([days_of(cell) if of_dates else float(cell) for cell in cells])
    low, middle, high = (
        date.fromordinal(int(value)).isoformat() if of_dates else f"{value:g}"
        for value in (values[0], values[len(values) // 2], values[-1])
    )
    heights = np.histogram(values, BARS, np.quantile(values, (0.01, 0.99)))[0]  # an outlier would hide the rest
    bars = "".join(HEIGHTS[height * (len(HEIGHTS) - 1) // max(1, heights.max())] for height in heights)
    return f", {low} to {high}, median {middle} {bars}"


def find_habits(kinds: Mapping[str, str], samples: Iterable[RawSample | Fault]) -> Habits:
    """Decide how the columns are written; `kinds` are those that the source knows, by name, or auto."""
    cells: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    looked_at = 0
    for raw in samples:
        if isinstance(raw, Fault) or raw.split != "train" or raw.fault:
            continue
        for name, cell in (raw.fields or {}).items():
            if cell is not None and not is_missing(cell):
                cells[name][cell] += 1
        looked_at += 1
        if looked_at == LOOKED_AT:
            break
    habits = Habits()
    for name, kind in kinds.items():
        habits.by_name[name], habits.told[name] = habit_of(cells[name].elements(), kind)
    return habits


def columns_of(folder: Path, habits: Mapping[str, Habit], min_count: int) -> Columns:
    """Return the columns with what the prepared training split has there."""
    cells: dict[str, list[str]] = {name: [] for name in habits}
    for path in sorted(folder.glob("train-*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            for row in filter(None, file.read_row_group(group, [FIELDS])[FIELDS].to_pylist()):
                for found, cell in zip(cells.values(), row, strict=True):
                    if cell is not None:
                        found.append(cell)
    return Columns(learnt(name, habit, cells[name], min_count) for name, habit in habits.items())
