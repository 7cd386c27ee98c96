"""The columns of a table as the training split has them, and a sample's cells as the numbers that a model reads.

Numbers become the normal score of their quantile (as Gorishniy et al. 2021 have it, "Revisiting deep learning models
for tabular data"): an outlier is the largest value and no more, whatever its size, and a skewed column spreads out.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from stages.base.errors import MediaError
from stages.base.store import FIELDS_FILE
from stages.media.fields.kinds import BOOLEAN, CATEGORY, DATE, NUMBER, Habit, is_missing, normalised

MARK, CLASS, VALUES = 0, 1, 2  # in a field's row: 1 for a missing cell, the category, and where values begin
BOOLEANS = ("false", "true")
MOST_CATEGORIES = 1000
QUANTILES = 101
DATE_VALUES = 9
"""When it was among all dates, and sine and cosine of month, day of the month, weekday and time of day."""

Cells = list[str | None]
"""A sample's normalised cells in the order of the columns; None where one is missing."""


@dataclass(frozen=True)
class Column:
    """One column: how its cells are written, and what the training split has there."""

    name: str
    habit: Habit
    cells: int = 0
    knots: tuple[float, ...] = ()  # quantiles of numbers, or of dates as days
    categories: tuple[str, ...] = ()  # the commonest first

    @property
    def cardinality(self) -> int:
        """How many numbers of categories there are, that of the unknown ones among them; 0 of numbers and dates."""
        names = BOOLEANS if self.habit.kind == BOOLEAN else self.categories
        return len(names) + 1 if self.habit.kind in (BOOLEAN, CATEGORY) else 0

    @cached_property
    def _classes(self) -> dict[str, int]:
        names = BOOLEANS if self.habit.kind == BOOLEAN else self.categories
        return {name: i for i, name in enumerate(names, start=1)}

    @cached_property
    def _scores(self) -> np.ndarray:
        """The normal scores of the knots; the ends are as far out as half a step between quantiles."""
        shares = np.linspace(0, 1, len(self.knots)).clip(0.5 / QUANTILES, 1 - 0.5 / QUANTILES)
        return np.array([NormalDist().inv_cdf(share) for share in shares])

    def fill(self, row: np.ndarray, cell: str | None) -> None:
        """Put a normalised cell into its row of zeros."""
        if cell is None:
            row[MARK] = 1
        elif self.cardinality:
            row[CLASS] = self._classes.get(cell, 0)
        elif self.habit.kind == NUMBER:
            row[VALUES] = self._score(float(cell))
        else:
            row[VALUES : VALUES + DATE_VALUES] = [self._score(days_of(cell)), *_turns(datetime.fromisoformat(cell))]

    def _score(self, value: float) -> float:
        """Return the normal score; of a value that many training cells have, the middle of theirs."""
        if not self.knots:
            return 0.0
        knots = np.array(self.knots)
        low, high = np.interp(value, knots, self._scores), np.interp(-value, -knots[::-1], -self._scores[::-1])
        return round(float(low - high) / 2, 6)

    def knows(self, cell: str) -> bool:
        """Tell whether a category is one of the training split's; of other kinds, whatever it is."""
        return self.habit.kind != CATEGORY or cell in self._classes

    def given(self, value: object) -> str | None:
        """Return the normalised cell of a value as JSON has it; a text is read as the table writes its cells.

        Raises:
            MediaError: when it is not of the column's kind.
        """
        kind = self.habit.kind
        if value is None or (isinstance(value, str) and is_missing(value)):
            return None
        cell: str | None = None
        if isinstance(value, str):
            cell = normalised(value, self.habit)
        elif isinstance(value, bool):
            cell = str(value).lower() if kind in (BOOLEAN, CATEGORY) else None
        elif isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e300:
            cell = f"{value:.15g}" if kind in (NUMBER, CATEGORY) else None
        if cell is None:
            raise MediaError(f"{self.name}: {_wanted(self)} is wanted, not {value!r:.80}")
        return cell

    def as_json(self, cell: str | None) -> object:
        """Return a normalised cell as `given` takes it back."""
        if cell is None or self.habit.kind in (CATEGORY, DATE):
            return cell
        if self.habit.kind == BOOLEAN:
            return cell == "true"
        return int(value) if (value := float(cell)).is_integer() else value


def _wanted(column: Column) -> str:
    unit = f" (of {column.habit.unit})" if column.habit.unit else ""
    return {
        NUMBER: f"a number{unit}",
        CATEGORY: "a text",
        DATE: "a date such as 2024-03-01",
        BOOLEAN: "true or false",
    }[column.habit.kind]


class Columns:
    """All columns of a data set, in order."""

    def __init__(self, columns: Iterable[Column]) -> None:
        """Take the columns."""
        self.columns = tuple(columns)
        kinds = {column.habit.kind for column in self.columns}
        self.shape = (len(self.columns), VALUES + (DATE_VALUES if DATE in kinds else 1))
        self.cardinalities = tuple(column.cardinality for column in self.columns)

    def numbers(self, cells: Cells) -> np.ndarray:
        """Return a sample's cells as float32 (F, `VALUES` + ...): mark of a missing one, category, values."""
        rows = np.zeros(self.shape, np.float32)
        for row, column, cell in zip(rows, self.columns, cells, strict=True):
            column.fill(row, cell)
        return rows

    def given(self, values: Mapping[str, object]) -> Cells:
        """Return normalised cells of values by column, as JSON has them; what is not named is missing.

        Raises:
            MediaError: naming a column that is not there, or a value that is not of its kind.
        """
        names = [column.name for column in self.columns]
        for name in values:
            if name not in names:
                raise MediaError(f"unknown field {name[:80]!r}; expected some of {', '.join(names)}")
        return [column.given(values.get(column.name)) for column in self.columns]

    def as_json(self, cells: Cells) -> dict[str, object]:
        """Return a sample's cells by name, without those that are missing."""
        found = zip(self.columns, cells, strict=True)
        return {column.name: column.as_json(cell) for column, cell in found if cell is not None}

    def described(self) -> list[dict[str, Any]]:
        """Return what a person is asked for, column by column: name, kind, unit, and what training has there."""
        return [
            {
                "name": column.name,
                "kind": column.habit.kind,
                "unit": column.habit.unit,
                "categories": list(column.categories),
                "range": [_shown(column, knot) for knot in (column.knots[0], column.knots[-1])] if column.knots else [],
            }
            for column in self.columns
        ]

    def dump(self) -> list[dict[str, Any]]:
        """Return the columns as JSON values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def load(cls, dumped: Iterable[dict[str, Any]]) -> "Columns":
        """Undo `dump`."""
        lists = ("knots", "categories")
        return cls(
            Column(**found | {"habit": Habit(**found["habit"])} | {key: tuple(found[key]) for key in lists})
            for found in dumped
        )


def read_columns(prepared: Path) -> Columns | None:
    """Return the columns of a prepared data set; None of one without fields."""
    path = prepared / FIELDS_FILE
    return Columns.load(json.loads(path.read_text(encoding="utf8"))) if path.exists() else None


def learnt(name: str, habit: Habit, cells: Sequence[str], min_count: int) -> Column:
    """Return a column with what the training split's normalised cells say: quantiles, or categories frequent enough."""
    if habit.kind == CATEGORY:
        counts = sorted(Counter(cells).items(), key=lambda item: (-item[1], item[0]))
        kept = tuple(category for category, n in counts[:MOST_CATEGORIES] if n >= min_count)
        return Column(name, habit, len(cells), categories=kept)
    if habit.kind == BOOLEAN or not cells:
        return Column(name, habit, len(cells))
    values = np.array([float(cell) if habit.kind == NUMBER else days_of(cell) for cell in cells])
    knots = np.quantile(values, np.linspace(0, 1, min(QUANTILES, max(2, len(values)))))
    return Column(name, habit, len(cells), tuple(map(float, knots)))


def days_of(cell: str) -> float:
    """Return a date, with its time of day, as a number of days."""
    moment = datetime.fromisoformat(cell)
    return moment.toordinal() + (moment.hour * 60 + moment.minute) / 1440


def _turns(moment: datetime) -> list[float]:
    """Return sine and cosine of where in the year, the month, the week and the day a date is."""
    hours = moment.hour + moment.minute / 60
    shares = ((moment.month - 1) / 12, (moment.day - 1) / 31, moment.weekday() / 7, hours / 24)
    return [turn(2 * math.pi * share) for share in shares for turn in (math.sin, math.cos)]


def _shown(column: Column, value: float) -> object:
    return date.fromordinal(int(value)).isoformat() if column.habit.kind == DATE else value
