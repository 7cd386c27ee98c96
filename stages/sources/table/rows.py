"""Rows of a user's table as text by column name: CSV of any common kind, JSON lines, Parquet.

Row numbers are those that a spreadsheet or an editor shows: a CSV's header is row 1, the first JSON line is 1.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.sources.table.layout import Layout, find_layout, layout_records
from stages.sources.table.media import embedded_cell
from stages.sources.table.records import Record

ROWS_PER_BATCH = 100  # images may lie in them
CSV_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson")
SUFFIXES = (*CSV_SUFFIXES, *JSON_SUFFIXES, ".parquet")


@dataclass(frozen=True)
class Row:
    """One row: its non-empty cells without spaces around them, and why it cannot be read, if so."""

    number: int
    cells: dict[str, str]
    odd: dict[str, str] = field(default_factory=dict)
    """Columns whose cell is neither text nor number, and what it is."""
    fault: str | None = None
    lists: dict[str, list[Any]] = field(default_factory=dict)
    """Columns whose cell is a list; they stand in `odd`, too."""
    media: dict[str, bytes] = field(default_factory=dict)
    """Columns whose image or sound lies in the table itself; the cell stands for it."""


def read_rows(path: Path, layout: Layout | None = None) -> Iterator[Row]:
    """Yield the rows that are not empty, one at a time in memory; the layout is that of a CSV, found if not given.

    Raises:
        InputError: the file is no such table.
    """
    if path.suffix.lower() in CSV_SUFFIXES:
        return _read_csv(path, layout or find_layout(path).layout)
    return _read_json(path) if path.suffix.lower() in JSON_SUFFIXES else _read_parquet(path)


def column_names(path: Path, layout: Layout | None = None) -> tuple[str, ...]:
    """Name the columns in their order; in JSON lines, the keys of all rows.

    Raises:
        InputError: the file is no such table.
    """
    if path.suffix.lower() in CSV_SUFFIXES:
        _, names = _header(path, layout_records(path, layout or find_layout(path).layout))
        return tuple(filter(None, names))
    if path.suffix.lower() in JSON_SUFFIXES:
        return tuple(dict.fromkeys(name for row in _read_json(path) for name in (*row.cells, *row.odd)))
    with _parquet(path) as file:
        return tuple(name.strip() for name in file.schema_arrow.names)


def first_row(path: Path, layout: Layout) -> int:
    """Return how many records of a CSV go before its rows: the header, and empty ones above it.

    Raises:
        InputError: there is no header, or two of its names are equal.
    """
    return _header(path, layout_records(path, layout))[0]


def _header(path: Path, rows: Iterator[Record]) -> tuple[int, list[str]]:
    """Take the first row that is not empty; return its number and the names, without spaces around them."""
    for number, record in enumerate(rows, start=1):
        names = [cell.strip() for cell in record.cells]
        if any(names):
            twice = sorted({name for name in names if name and names.count(name) > 1})
            if twice:
                raise InputError(f"{path}: row {number}: two columns are called {twice[0]!r}: rename one of them")
            return number, names
    raise InputError(f"{path}: it is empty; expected a first row with the names of the columns")


def _read_csv(path: Path, layout: Layout) -> Iterator[Row]:
    """Yield the rows; a column without a name is left out."""
    rows = layout_records(path, layout)
    start, names = _header(path, rows)
    for number, record in enumerate(rows, start=start + 1 + layout.skipped):
        values = [cell.strip() for cell in record.cells]
        if not any(values):
            continue
        fault = None
        if len(values) < len(names) or any(values[len(names) :]):
            fault = f"{len(values)} cells, the header has {len(names)}; is a quote left open or missing?"
        yield Row(number, {n: v for n, v in zip(names, values, strict=False) if n and v}, fault=fault)


def _read_json(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if isinstance(record, dict):
                    yield _row(number, record)
                else:
                    yield Row(number, {}, fault=f"expected one JSON object, found {line.strip()!r:.80}")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({error}); JSON lines must be") from None


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: no Parquet file ({error})") from None


def _read_parquet(path: Path) -> Iterator[Row]:
    number = 0
    with _parquet(path) as file:
        try:
            for batch in file.iter_batches(ROWS_PER_BATCH):
                for record in batch.to_pylist():
                    number += 1
                    yield _row(number, record)
        except pa.ArrowException as error:
            raise InputError(f"{path}: damaged after row {number} ({error})") from None


def _row(number: int, record: dict[str, Any]) -> Row:
    """Turn values into text: whole numbers without a point, nothing for null and not-a-number."""
    cells, odd, media = {}, {}, {}
    lists: dict[str, list[Any]] = {}
    for name, value in record.items():
        if isinstance(value, dict) and {"bytes", "path"} <= value.keys():  # as data sets of Hugging Face have it
            value = value["path"] if value["bytes"] is None else value["bytes"]
        if value is None or value != value:
            continue
        if isinstance(value, bytes) and (cell := embedded_cell(value)):
            cells[name.strip()], media[name.strip()] = cell, value
            continue
        if isinstance(value, list | dict | bytes):
            odd[name.strip()] = type(value).__name__
            lists |= {name.strip(): value} if isinstance(value, list) else {}
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if text := str(value).strip():
            cells[name.strip()] = text
    return Row(number, cells, odd, lists=lists, media=media)
