"""The records of a CSV file from its lines: a quote that swallows rows is found, and costs no row.

A cell may hold line ends and delimiters within quotes. Many corpora are written without quoting, and a text there may
begin with a quotation mark; what stands up to the next such mark, perhaps rows further down, then looks like one cell.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_CELL_CHARS = 1 << 24  # a quote that is open for longer was never meant as one
QUOTED = re.compile(r'(?:[^"]++|"")*+"')  # what follows an opening quote, its closing one included
SPACES, BLANKS = re.compile(" *"), re.compile("[ \t]*")


class Record(NamedTuple):
    """One record: its cells, the number of its first line, and what its quotes say about the file."""

    line: int
    cells: list[str]
    proof: bool = False
    """A cell holds what only quotes allow: a delimiter, a line end, or a doubled quote."""
    doubtful: bool = False
    """A quote opens and is not closed at the end of a cell; the line is taken as it stands."""


def records(lines: Iterable[str], mark: str, quoted: bool, sure: bool = False) -> Iterator[Record]:
    """Yield the records of a file, the empty ones too.

    Args:
        lines: with their line ends.
        mark: what separates cells.
        quoted: whether quotes enclose cells; otherwise they are letters.
        sure: whether several lines within quotes are one record although each looks like one.
    """
    csv.field_size_limit(max(MAX_CELL_CHARS * 4, csv.field_size_limit()))
    source, waiting, number, width = iter(lines), deque[str](), 0, 0
    while (first := waiting.popleft() if waiting else next(source, None)) is not None:
        number += 1
        start, proof, doubtful = number, False, False
        if quoted and '"' in first:
            more, closed = _enclosed(first, waiting, source, mark)
            cells = _cells([first, *more], mark, True) if closed else []
            doubtful = not closed or (not sure and _swallows([first, *more], mark, width, len(cells)))
            if doubtful:
                waiting.extendleft(reversed(more))
            else:
                number += len(more)
                doubled = '""' in first and any('"' in cell for cell in cells)
                proof = bool(more) or doubled or len(_cells([first], mark, False)) != len(cells)
        if not quoted or doubtful or '"' not in first:
            cells = _cells([first], mark, False)
        width = width or (len(cells) if any(cell.strip() for cell in cells) else 0)
        yield Record(start, cells, proof, doubtful)


def _enclosed(first: str, waiting: deque[str], source: Iterator[str], mark: str) -> tuple[list[str], bool]:
    """Take the lines after the first up to the one in which its quotes are closed; tell whether they are, and well."""
    more: list[str] = []
    state, chars = _scan(first, mark, inside=False), len(first)
    while state == "open" and chars < MAX_CELL_CHARS:
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            break
        more.append(line)
        chars += len(line)
        state = _scan(line, mark, inside=True)
    return more, state == "closed"


def _scan(line: str, mark: str, inside: bool) -> str:
    """Tell whether the quotes are closed, open or wrong at the end of a line that begins inside or outside of them."""
    at, blanks = 0, SPACES if mark == "\t" else BLANKS
    while True:
        if not inside:
            at = _after(SPACES, line, at)
            if line[at : at + 1] != '"':
                at = line.find(mark, at) + 1
                if not at:
                    return "closed"
                continue
            at += 1
        found = QUOTED.match(line, at)
        if found is None:
            return "open"
        at = _after(blanks, line, found.end())
        if line[at : at + 1] in ("", "\r", "\n"):
            return "closed"
        if line[at] != mark:
            return "wrong"
        at, inside = at + 1, False


def _after(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return found.end() if found else at


def _swallows(lines: list[str], mark: str, width: int, found: int) -> bool:
    """Tell whether each of several lines alone is a row of the header's width: then a quote has swallowed rows.

    One comma in each of two lines may stand there by chance, one tab hardly.
    """
    needed = 1 if mark == "\t" or found != width else 2
    enough = (width - 1) * (len(lines) - 1) >= needed
    return enough and all(len(_cells([line], mark, False)) == width for line in lines)


def _cells(lines: list[str], mark: str, quoted: bool) -> list[str]:
    if quoted:
        return next(csv.reader(lines, delimiter=mark, skipinitialspace=True), [])
    text = lines[0].rstrip("\r\n")
    return text.split(mark) if text else []
