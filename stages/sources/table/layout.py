"""How a CSV file is written: what its bytes are, its encoding, what separates cells, and whether quotes enclose them.

What can be told wrongly can be given in params.yaml, as `reading` of the data set.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from stages.base.errors import InputError
from stages.sources.table.records import Record, records

DELIMITERS = ",;\t|"
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
HEAD_CHARS = 1 << 18  # looked at to find the delimiter
CHUNK_BYTES = 1 << 20
DOUBTS_NAMED = 5
REMEDY = "save the table as CSV UTF-8, or name its encoding in params.yaml\n    reading: {encoding: gb18030}"
EXPORT = "save the table as CSV UTF-8, or give its true ending in `table`"
MARKS = {  # how files of other kinds begin
    b"version https://git-lfs": ("a Git LFS pointer, not the file", "run `git lfs pull` where it comes from"),
    b"PK\x03\x04": ("an Excel file or another zip archive", EXPORT),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", EXPORT),
    b"PAR1": ("a Parquet file", "give it the ending .parquet, in `table` too"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it with `gunzip`"),
    b"SQLite format 3": ("an SQLite database", EXPORT),
    b"%PDF": ("a PDF", EXPORT),
    b"<!doctype html": ("a web page, such as of a login", "download the file itself"),
    b"<html": ("a web page, such as of a login", "download the file itself"),
}


class Reading(Protocol):
    """How a CSV file is to be read: `reading` of a table in params.yaml."""

    @property
    def delimiter(self) -> str:
        """What separates cells, or auto."""

    @property
    def quoting(self) -> Literal["auto", "quotes", "none"]:
        """Whether quotes enclose cells or are letters."""

    @property
    def encoding(self) -> str:
        """A name that Python knows, or auto."""

    @property
    def decimal(self) -> str:
        """The decimal mark of numbers to be predicted, or auto."""


class TableParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def folder(self) -> str:
        """The folder of the table and its files, below `data/`."""

    @property
    def table(self) -> str:
        """The file name of the table in that folder."""

    @property
    def columns(self) -> Any:
        """For each role of `ROLES` an attribute: a column's name, auto or none."""

    @property
    def reading(self) -> Reading:
        """How a CSV file is written."""

    @property
    def ratings(self) -> Any:
        """The table of ratings beside it, see `ratings.RatingsParams`; "none" without."""

    @property
    def split_by(self) -> Literal["auto", "column", "hash", "group"]:
        """Where a row's split comes from; by hash, rows with equal files stay together; auto: a column, else hash."""

    @property
    def val_fraction(self) -> float:
        """The part that becomes validation where the table names none."""

    @property
    def test_fraction(self) -> float:
        """The part that becomes test where the table names none."""


@dataclass(frozen=True)
class Auto:
    """Everything is found."""

    delimiter: str = "auto"
    quoting: Literal["auto", "quotes", "none"] = "auto"
    encoding: str = "auto"
    decimal: str = "auto"


@dataclass(frozen=True)
class Layout:
    """How a CSV file is written."""

    encoding: str
    delimiter: str
    quoted: bool
    sure: bool = False
    """Quotes are given in params.yaml: lines within them belong together, whatever they look like."""
    skipped: int = 0
    """Lines before the header: `sep=;` of Excel."""


@dataclass
class Found:
    """What one pass over a CSV file found."""

    layout: Layout
    num_records: int = 0
    """Header and empty ones too."""
    doubtful: list[int] = field(default_factory=list)
    """Lines whose quotes are not closed."""
    proof: bool = False

    def __str__(self) -> str:
        """Say how the file was read, as a line for a person."""
        how = self.layout
        quotes = "cells may be in quotes" if how.quoted else "quotes are letters"
        text = f"read as {how.encoding.removesuffix('-sig')}, cells between {NAMES.get(how.delimiter, how.delimiter)}"
        text += f", {quotes}" if self.proof or self.doubtful or not how.quoted else ""
        if self.doubtful:
            lines = ", ".join(map(str, self.doubtful[:DOUBTS_NAMED])) + (", ..." * (len(self.doubtful) > DOUBTS_NAMED))
            text += f"; a quote opens and is not closed in {len(self.doubtful)} lines ({lines}): taken as they stand"
        return text


def refuse_other_kinds(path: Path) -> None:
    """Refuse a table whose bytes are those of another kind of file.

    Raises:
        InputError: with what it is, and what to do.
    """
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    for mark, (kind, remedy) in MARKS.items():
        if (head.lower() if mark.startswith(b"<") else head).startswith(mark) and (mark, path.suffix.lower()) != (
            b"PAR1",
            ".parquet",
        ):
            raise InputError(f"{path}: it is {kind}: {remedy}")


def find_layout(path: Path, reading: Reading | None = None) -> Found:
    """Find how a CSV file is written; the reading in which rows and header agree is taken, over the whole file.

    Raises:
        InputError: no text, or none that the params can read.
    """
    wanted = reading or Auto()
    refuse_other_kinds(path)
    name = encoding(path) if wanted.encoding == "auto" else codecs.lookup(wanted.encoding).name
    name = "utf-8-sig" if name == "utf-8" else name
    said, mark = _said(_head(path, name))
    if wanted.delimiter != "auto":
        mark = wanted.delimiter
    layout = Layout(name, mark or ",", wanted.quoting != "none", wanted.quoting == "quotes", said)
    if not mark:
        layout = Layout(name, _delimiter(layout, path), layout.quoted, layout.sure)
    found = Found(layout)
    for record in layout_records(path, layout):
        found.num_records += 1
        found.proof |= record.proof
        if record.doubtful:
            found.doubtful.append(record.line + said)
    if found.doubtful and not found.proof and wanted.quoting == "auto":
        found.layout = Layout(name, layout.delimiter, False, skipped=said)
        found.num_records = sum(1 for _ in layout_records(path, found.layout))
    return found


def layout_records(path: Path, layout: Layout) -> Iterator[Record]:
    """Yield the records of a file, header and empty ones too.

    Raises:
        InputError: the text is not in the layout's encoding.
    """
    try:
        with path.open(encoding=layout.encoding, newline="") as file:
            lines = islice(file, layout.skipped, None)
            yield from records(lines, layout.delimiter, layout.quoted, layout.sure)
    except csv.Error as error:
        raise InputError(f"{path}: no CSV table ({error})") from None
    except UnicodeError as error:
        raise InputError(f"{path}: no text in {layout.encoding} ({error}): {REMEDY}") from None


def encoding(path: Path) -> str:
    """Find how a text file is encoded: by its mark, as UTF-8 if it is, else as Windows-1252.

    Raises:
        InputError: it is none of them.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    for name in ("utf-8-sig", "cp1252"):
        if _decodes(path, name):
            return name
    raise InputError(f"{path}: the text is neither UTF-8, UTF-16 nor Windows-1252: {REMEDY}")


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


def _head(path: Path, name: str) -> str:
    try:
        with path.open(encoding=name, newline="") as file:
            return file.read(HEAD_CHARS)
    except UnicodeError as error:
        raise InputError(f"{path}: no text in {name} ({error}): {REMEDY}") from None


def _said(head: str) -> tuple[int, str]:
    """Return the delimiter that a first line `sep=;` says, and 1 for that line."""
    text = head[:20].splitlines()[0].strip(' "') if head.strip() else ""
    return (1, text[4]) if text.lower().startswith("sep=") and len(text) == 5 else (0, "")


def _delimiter(layout: Layout, path: Path) -> str:
    """Guess what separates cells: that by which most rows have as many cells as the header."""
    head = _head(path, layout.encoding)
    if len(head) == HEAD_CHARS:
        head = head.rpartition("\n")[0] or head

    def score(mark: str) -> tuple[int, int]:
        lines = io.StringIO(head, newline="")
        found = (record.cells for record in records(lines, mark, layout.quoted, layout.sure))
        lengths = [len(cells) for cells in found if cells]
        return (lengths.count(lengths[0]), lengths[0]) if lengths and lengths[0] > 1 else (0, 0)

    return max(DELIMITERS, key=score)
