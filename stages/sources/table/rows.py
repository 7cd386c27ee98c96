"""Rows of a user's table as text by column name: CSV of any common kind, JSON lines, Parquet.

Row numbers are those that a spreadsheet or an editor shows: a CSV's header is row 1, the first JSON line is 1.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError

DELIMITERS = ",;\t|"
HEAD_CHARS = 1 << 16  # looked at to find the delimiter
CHUNK_BYTES = 1 << 20
ROWS_PER_BATCH = 1000
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


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows that are not empty, one at a time in memory.

    Raises:
        InputError: the file is no such table.
    """
    if path.suffix.lower() in CSV_SUFFIXES:
        return _read_csv(path)
    return _read_json(path) if path.suffix.lower() in JSON_SUFFIXES else _read_parquet(path)


def column_names(path: Path) -> tuple[str, ...]:
    """Name the columns in their order; in JSON lines, the keys of all rows.

    Raises:
        InputError: the file is no such table.
    """
    if path.suffix.lower() in CSV_SUFFIXES:
        with _opened(path) as file:
            _, names = _header(path, csv.reader(file, delimiter=delimiter(path), skipinitialspace=True))
        return tuple(filter(None, names))
    if path.suffix.lower() in JSON_SUFFIXES:
        return tuple(dict.fromkeys(name for row in _read_json(path) for name in (*row.cells, *row.odd)))
    with _parquet(path) as file:
        return tuple(name.strip() for name in file.schema_arrow.names)


def encoding(path: Path) -> str:
    """Find how a text file is encoded: by its mark, as UTF-8 if it is, else as Windows-1252.

    Raises:
        InputError: it is none of them.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    for name in ("utf-8-sig", "cp1252"):
        if _decodes(path, name):
            return name
    raise InputError(f"{path}: the text is neither UTF-8, UTF-16 nor Windows-1252: save the table as CSV UTF-8")


def _decodes(path: Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def delimiter(path: Path) -> str:
    """Guess what separates cells: that by which most rows have as many cells as the header."""
    with _opened(path) as file:
        head = file.read(HEAD_CHARS)
    if len(head) == HEAD_CHARS:
        head = head.rpartition("\n")[0] or head

    def score(mark: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=mark, skipinitialspace=True)
        try:
            lengths = [len(row) for row in rows if row]
        except csv.Error:
            return 0, 0
        return (lengths.count(lengths[0]), lengths[0]) if lengths and lengths[0] > 1 else (0, 0)

    return max(DELIMITERS, key=score)


def _opened(path: Path) -> io.TextIOWrapper:
    return path.open(encoding=encoding(path), newline="")


def _header(path: Path, rows: Iterator[list[str]]) -> tuple[int, list[str]]:
    """Take the first row that is not empty; return its number and the names, without spaces around them."""
    try:
        for number, cells in enumerate(rows, start=1):
            names = [cell.strip() for cell in cells]
            if any(names):
                twice = sorted({name for name in names if name and names.count(name) > 1})
                if twice:
                    raise InputError(f"{path}: row {number}: two columns are called {twice[0]!r}: rename one of them")
                return number, names
    except (csv.Error, UnicodeError) as error:
        raise InputError(f"{path}: no CSV table ({error})") from None
    raise InputError(f"{path}: it is empty; expected a first row with the names of the columns")


def _read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows; a column without a name is left out."""
    mark = delimiter(path)
    with _opened(path) as file:
        rows = csv.reader(file, delimiter=mark, skipinitialspace=True)
        start, names = _header(path, rows)
        number = start
        try:
            for number, cells in enumerate(rows, start=start + 1):
                values = [cell.strip() for cell in cells]
                if not any(values):
                    continue
                fault = None
                if len(values) < len(names) or any(values[len(names) :]):
                    fault = f"{len(values)} cells, the header has {len(names)}; is a quote left open or missing?"
                yield Row(number, {n: v for n, v in zip(names, values, strict=False) if n and v}, fault=fault)
        except (csv.Error, UnicodeError) as error:
            raise InputError(f"{path}: row {number + 1}: {error}; is a quote left open?") from None


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
    cells, odd = {}, {}
    for name, value in record.items():
        if value is None or value != value:
            continue
        if isinstance(value, list | dict | bytes):
            odd[name.strip()] = type(value).__name__
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if text := str(value).strip():
            cells[name.strip()] = text
    return Row(number, cells, odd)
