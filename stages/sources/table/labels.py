"""Class names of a user's table: one for a value, however a program wrote it into CSV, JSON or Parquet."""

import re
from collections import Counter
from collections.abc import Iterable

MISSING = ("nan", "NaN", "NAN", "<NA>", "N/A", "n/a", "#N/A", "NaT", "NULL", "Null", "null", "None")
"""What programs write where there is no value; other spellings, such as none and NA, are names of classes."""

SHOWN = 8
_WHOLE = re.compile(r"([+-]?\d+)\.0*")  # a whole number in a column that became fractions by an empty cell


def label_of(cell: str | None) -> str | None:
    """Return the class of a cell, None where it has no value.

    >>> [label_of(cell) for cell in ("2.0", "2.50", "TRUE", "N/A", "none", "Cat")]
    ['2', '2.50', 'true', None, 'none', 'Cat']
    """
    if cell is None or cell in MISSING:
        return None
    return cell.lower() if cell.lower() in ("true", "false") else whole_number(cell)


def whole_number(cell: str) -> str:
    """Return a whole number without a point, any other cell as it is."""
    whole = _WHOLE.fullmatch(cell)
    if not whole:
        return cell
    return "0" if whole[1] == "-0" else whole[1]


def changed_labels(cells: Iterable[str]) -> str:
    """Say which cells are not the classes that they spell, with their numbers; empty where all are."""
    counts = Counter(cell for cell in cells if label_of(cell) != cell)
    if not counts:
        return ""
    told = [f"{cell!r} {count} as {label_of(cell) or 'missing'}" for cell, count in counts.most_common(SHOWN)]
    more = ", ..." if len(counts) > SHOWN else ""
    hint = " (a class of such a name needs another one)" if any(label_of(cell) is None for cell in counts) else ""
    return f"{counts.total()} cells are taken by their value: {', '.join(told)}{more}{hint}"
