"""Numbers of a user's table, however a spreadsheet writes them: decimal and thousands marks, a unit or a currency.

A column is looked at as a whole, once; what is found is kept beside the table, so that reading is sure.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from stages.sources.table.labels import MISSING

_NUMBER = re.compile(r"(?P<before>[^\d+\-.,(]*)(?P<digits>[+-]?[.,]?\d[\d.,' ]*(?:[eE][+-]?\d+)?)(?P<after>.*)", re.S)
_GROUPED = re.compile(r"\d{1,3}(?P<mark>[.,' ])(?:\d{2,3}(?P=mark))*\d{3}|\d+")  # 1,234,567 and India's 12,34,567
_OF_CELL = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2019": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " "})


@dataclass(frozen=True)
class Writing:
    """How the numbers of a column are written."""

    decimal: str = "."
    unit: str = ""

    def number(self, cell: str) -> float:
        """Return the number of a cell.

        Raises:
            ValueError: saying why it is none.

        >>> Writing(",", "kg").number("1.234,5 kg"), Writing().number("-1,234.5"), Writing().number("3e-2")
        (1234.5, -1234.5, 0.03)
        """
        sign, digits, exponent, unit = _parts(cell)
        if unit not in ("", self.unit):
            found = f"the unit {self.unit}" if self.unit else "no unit"
            raise ValueError(f"{cell!r} has the unit {unit}, most of the column {found}: write all in one")
        whole, _, part = digits.partition(self.decimal)
        if not (not whole and part) and not _GROUPED.fullmatch(whole) or (part and not part.isdigit()):
            raise ValueError(f"{cell!r} is no number with the decimal mark {self.decimal!r}")
        return float(f"{sign}{re.sub('[^0-9]', '', whole) or 0}.{part or 0}{exponent}")


def known(cell: str | None) -> str | None:
    """Return a cell that says something, None for one that says that there is no number."""
    return None if cell is None or cell in (*MISSING, "-", "NA") else cell


def writing_of(cells: Iterable[str], decimal: str = "auto") -> tuple[Writing, str]:
    """Return how a column's numbers are written, and that in words where it is not the plain way.

    >>> writing_of(["1,5 kg", "12 kg", "1.250,0 kg"])[0]
    Writing(decimal=',', unit='kg')
    """
    units, marks, unsure = Counter[str](), Counter[str](), Counter[str]()
    for cell in filter(known, cells):
        try:
            _, digits, _, unit = _parts(cell)
        except ValueError:
            continue
        units[unit] += 1
        mark, sure = _decimal(digits)
        (marks if sure else unsure)[mark] += 1
    guessed = "," if marks[","] > marks["."] else "."
    writing = Writing(guessed if decimal == "auto" else decimal, units.most_common(1)[0][0] if units else "")
    told = [f"the unit {writing.unit} is left out"] if writing.unit else []
    if writing.decimal == ",":
        told.append("the comma is the decimal mark")
    elif unsure[","] and not marks["."]:
        told.append(f"a comma, as in {unsure[',']} cells, is a thousands mark; if not: reading: {{decimal: ','}}")
    return writing, ", ".join(told)


def written(notes: dict[str, Any]) -> Writing:
    """Return what `noted` made."""
    return Writing(**notes)


def noted(writing: Writing) -> dict[str, Any]:
    """Return how a column is written as JSON values."""
    return asdict(writing)


def _parts(cell: str) -> tuple[str, str, str, str]:
    """Return sign, digits with their marks, exponent and unit of a cell.

    Raises:
        ValueError: there is no number in it, or more than one.
    """
    text = cell.translate(_OF_CELL).strip()
    found = _NUMBER.fullmatch(text)
    if not found or re.search(r"\d", found["after"]):
        raise ValueError(f"{cell!r} is no number")
    digits, unit = found["digits"].strip(), (found["before"] + found["after"]).strip()
    mantissa, _, exponent = digits.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    return sign, mantissa.lstrip("+-").rstrip(".,' "), f"e{exponent}" if exponent else "", unit


def _decimal(digits: str) -> tuple[str, bool]:
    """Return which mark of a number is the decimal one, empty where none is, and whether that is sure."""
    found = [letter for letter in digits if letter in ".,"]
    if not found:
        return "", True
    last = found[-1]
    if len(set(found)) == 2:
        return (last, True) if found.count(last) == 1 else ("", True)
    if len(found) > 1:  # one mark several times
        return "," if last == "." else ".", True
    before, _, after = digits.partition(last)
    return last, len(after) != 3 or not 1 <= len(before) <= 3 or before == "0"
