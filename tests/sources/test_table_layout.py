"""Tables of all common ways of writing are read as they were written, and as pandas reads them."""

import csv
import io
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from stages.sources.table.layout import find_layout
from stages.sources.table.rows import Row, column_names, read_rows

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")
DELIMITERS = (",", ";", "\t", "|")
LINE_ENDS = ("\n", "\r\n", "\r")
TEXTS = {  # in two of twelve rows
    "plain": ("some words", "other words"),
    "a quote at the start": ('"come in', '"go out'),
    "quotes that look closed": ('"come in', 'go out"'),
    "a quoted word at the start": ('"Come in", she said', '"Out!" he said'),
    "a quote inside": ('a 5" disk', 'the "red" one'),
    "a doubled quote": ('a ""b"" c', 'd ""'),
    "delimiters": ("a,b;c|d\te", ",;|\t,"),
    "line ends": ("two\nlines", "three\n\nlines\r\nof text"),
    "a line like a row": ("see\n7,x,y", "9;a;b\n1|2|3"),
    "letters": ("Größe déjà vu", "ñandú – “so”"),
    "spaces": ("a  b", "c   d"),
    "nothing": ("", ""),
    "a backslash": ("a\\", "\\n b\\"),
    "long": ("word, " * 30_000 + "end", "short"),
}
NAMES = ["id", "text", "label"]


def rows_with(texts: tuple[str, str]) -> list[list[str]]:
    chosen = {3: texts[0], 8: texts[1]}
    return [[str(number), chosen.get(number, "words"), "xy"[number % 2]] for number in range(12)]


def written(rows: list[list[str]], mark: str, end: str, quoting: int) -> str | None:
    """Return the text of a table; None where it cannot be written so."""
    out = io.StringIO(newline="")
    if quoting == csv.QUOTE_MINIMAL and end == "\r" and any("\n" in cell for row in rows for cell in row):
        return None  # csv puts no quotes round a line end of another kind
    if quoting == csv.QUOTE_NONE:
        if any(mark in cell or "\n" in cell or "\r" in cell for row in rows for cell in row):
            return None
        out.write("".join(mark.join(row) + end for row in rows))
    else:
        csv.writer(out, delimiter=mark, lineterminator=end, quoting=quoting).writerows(rows)
    return out.getvalue()


def by_pandas(path: Path, name: str, mark: str, quoting: int) -> list[list[str]]:
    table = pd.read_csv(path, encoding=name, sep=mark, quoting=quoting, dtype=str, keep_default_na=False)
    return table.to_numpy().tolist()


@pytest.mark.parametrize(
    "quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE], ids=["as needed", "all", "none"]
)
@pytest.mark.parametrize("kind", TEXTS)
def test_what_was_written_is_read(tmp_path, kind, quoting):
    rows, path, tried = rows_with(TEXTS[kind]), tmp_path / "table.csv", 0
    expected = [
        Row(number, {name: cell.strip() for name, cell in zip(NAMES, row, strict=True) if cell.strip()})
        for number, row in enumerate(rows, start=2)
    ]
    for name, mark, end in product(ENCODINGS if kind != "long" else ENCODINGS[:1], DELIMITERS, LINE_ENDS):
        text = written([NAMES, *rows], mark, end, quoting)
        if text is None:
            continue
        path.write_bytes(text.encode(name))
        found = find_layout(path)
        how = f"{name} {mark!r} {end!r}: {found}"
        assert found.num_records == len(rows) + 1, how
        assert column_names(path, found.layout) == tuple(NAMES), how
        assert list(read_rows(path, found.layout)) == expected, how
        assert by_pandas(path, name, mark, csv.QUOTE_NONE if quoting == csv.QUOTE_NONE else 0) == rows, how
        tried += 1
    assert tried or quoting == csv.QUOTE_NONE


def test_a_cell_in_quotes_is_taken_out_of_them_unless_params_say_that_they_are_letters(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('text,label\n"come in",x\n')
    assert [row.cells["text"] for row in read_rows(path)] == ["come in"]
    as_letters = replace(find_layout(path).layout, quoted=False)
    assert [row.cells["text"] for row in read_rows(path, as_letters)] == ['"come in"']
