"""What is to be predicted in a user's table beside a class: columns of numbers, and one of tags."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.base.store import say
from stages.sources.table.labels import label_of, separator_of, tags_of
from stages.sources.table.numbers import Writing, known, noted, writing_of, written
from stages.sources.table.rows import Row

MANY = 20  # different numbers in a column of labels, and more are hardly classes
Rows = Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Targets:
    """How the cells of the target columns are read."""

    numbers: dict[str, Writing] = field(default_factory=dict)  # by column
    tags: str = ""  # their column
    separator: str = ""

    def of(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the tags and numbers of the rows of a sample as fields of `RawSample`.

        Raises:
            ValueError: naming the column and the cell that cannot be read.
        """
        first, found = rows[0], dict[str, Any]()
        for column, writing in self.numbers.items():
            cell = known(first.cells.get(column))
            try:
                found[column] = None if cell is None else writing.number(cell)
            except ValueError as error:
                raise ValueError(f"column {column}: {error}") from None
        return {"numbers": found, "tags": self._tags(first)}

    def _tags(self, row: Row) -> tuple[str, ...] | None:
        cell = json.dumps(row.lists[self.tags]) if self.tags in row.lists else row.cells.get(self.tags)
        try:
            return tags_of(cell, self.separator)
        except ValueError as error:
            raise ValueError(f"column {self.tags}: {error}") from None

    def as_json(self) -> dict[str, Any]:
        """Return what `read_targets` reads."""
        numbers = {column: noted(writing) for column, writing in self.numbers.items()}
        return {"numbers": numbers, "tags": self.tags, "separator": self.separator}


def read_targets(notes: dict[str, Any] | None) -> Targets:
    """Read what stands beside a table; nothing of one from before there were targets."""
    if not notes:
        return Targets()
    numbers = {column: written(found) for column, found in notes["numbers"].items()}
    return Targets(numbers, notes["tags"], notes["separator"])


def number_columns(wanted: str | list[str], names: Sequence[str], where: str) -> list[str]:
    """Return the columns of numbers.

    Raises:
        InputError: one is not there.
    """
    columns = [] if wanted == "none" else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in columns:
        if name not in names:
            raise InputError(f"{where}: no column {name!r}, given as columns.numbers; it has {', '.join(names)}")
    return columns


def find_targets(where: Path, rows: Rows, numbers: Iterable[str], tags: str, decimal: str) -> Targets:
    """Find how target columns are written, and say what is not the plain way.

    Raises:
        InputError: a column of numbers has none.
    """
    found = {}
    for column in numbers:
        writing, told = writing_of((row.cells[column] for row in rows() if column in row.cells), decimal)
        bad = list(_unread(column, writing, rows()))
        total = sum(column in row.cells for row in rows())
        if total and len(bad) == total:
            raise InputError(f"{where}: columns.numbers: the column {column} has no number, such as {bad[0]!r}")
        if told or bad:
            say(f"{where}: {column}: " + "; ".join(filter(None, [told, f"{len(bad)} cells are no number" * bool(bad)])))
        found[column] = writing
    separator = ""
    if tags:
        listed = (json.dumps(row.lists[tags]) if tags in row.lists else row.cells.get(tags) for row in rows())
        separator, told = separator_of(cell for cell in listed if cell is not None)
        say(f"{where}: tags: {tags}: {told}")
    return Targets(found, tags, separator)


def _unread(column: str, writing: Writing, rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        cell = known(row.cells.get(column))
        try:
            if cell is not None:
                writing.number(cell)
        except ValueError:
            yield cell or ""


def looks_like_numbers(where: Path, column: str, rows: Iterable[Row]) -> str:
    """Say that a column of labels holds many different numbers, and the lines that have them predicted, if it does."""
    cells = Counter(label for row in rows if (label := label_of(row.cells.get(column))))
    if len(cells) <= MANY or 5 * len(cells) <= cells.total():
        return ""
    writing, _ = writing_of(cells)
    if any(True for _ in _unread(column, writing, (Row(0, {column: cell}) for cell in cells))):
        return ""
    name = json.dumps(column, ensure_ascii=False)
    return (
        f"{where}: the column {column}, which could be the label, has {len(cells)} different numbers in "
        f"{cells.total()} cells: hardly classes; to predict the number, change in params.yaml\n"
        f"    columns: {{label: none, numbers: {name}}}\nand in the experiment\n    task: regress\n"
        f"to make a class of each all the same\n    columns: {{label: {name}}}"
    )
