"""Rows in an Arrow file: each is read where it lies, so that a million of them take no memory."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from stages.base.errors import InputError

AGAIN = "fetch the version again, or train and register it anew"  # what to do where a file of it is not whole


def write_rows(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches of rows, one at least; the same rows in the same batches give the same bytes."""
    left = iter(batches)
    first = next(left)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, first.schema) as writer:
        for batch in itertools.chain([first], left):
            writer.write_batch(batch)


class Rows:
    """The rows of a file, by number."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            InputError: when it is missing or damaged.
        """
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._table.validate()
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path} is missing or damaged ({error}); {AGAIN}") from None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._table)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return one row."""
        return self._table.slice(number, 1).to_pylist()[0]

    def find(self, column: str, value: str) -> int:
        """Return the number of the first row with this value, -1 where there is none."""
        return pa.compute.index(self._table[column], value).as_py()

    def having(self, column: str, text: str, limit: int) -> list[int]:
        """Return the numbers of the first rows whose value has all words of a text; first those that begin with it."""
        values = self._table[column]
        found = pa.compute.starts_with(values, text)
        among = pa.compute.invert(found)
        for word in text.split():
            among = pa.compute.and_(among, pa.compute.match_substring(values, word))
        numbers = (pa.compute.indices_nonzero(which).slice(0, limit).to_pylist() for which in (found, among))
        return [number for part in numbers for number in part][:limit]

    def first(self, column: str, count: int) -> list[Any]:
        """Return the first values of a column."""
        return self._table[column].slice(0, count).to_pylist()
