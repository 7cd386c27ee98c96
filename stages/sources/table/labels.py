"""Class names and tags of a user's table: one for a value, however a program wrote it into CSV, JSON or Parquet.

What separates the tags in a cell is found from their column as a whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

MISSING = ("nan", "NaN", "NAN", "<NA>", "N/A", "n/a", "#N/A", "NaT", "NULL", "Null", "null", "None")
"""What programs write where there is no value; other spellings, such as none and NA, are names of classes."""

SHOWN = 8
JSON_LIST = "json"
SEPARATORS = (";", "|", ",")  # the first that is usual: a comma may stand in a tag
USUAL = 0.05  # of the cells
NONE_APPLIES = ("-", "none", "[]")  # an empty cell says that nobody knows
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


def separator_of(cells: Iterable[str]) -> tuple[str, str]:
    """Return what separates the tags of a column, and that in words; empty where each cell is one tag.

    >>> separator_of(["red; large, round", "blue"])[0], separator_of(['["a"]', "[]"])[0], separator_of(["a", "b"])[0]
    (';', 'json', '')
    """
    counts: Counter[str] = Counter()
    for cell in cells:
        counts.update(["cells", *(mark for mark in SEPARATORS if mark in cell), *([JSON_LIST] * _is_list(cell))])
    total = counts["cells"]
    if counts[JSON_LIST] > total / 2:
        return JSON_LIST, f"JSON lists in {counts[JSON_LIST]} of {total} cells"
    for mark in SEPARATORS:
        if counts[mark] > USUAL * total:
            return mark, f"cut at {mark!r}, which is in {counts[mark]} of {total} cells"
    return "", f"each cell is one tag: {', '.join(map(repr, SEPARATORS))} are in none of {total}"


def tags_of(cell: str | None, separator: str) -> tuple[str, ...] | None:
    """Return the tags of a cell; None for an empty one.

    Raises:
        ValueError: saying why there are none to read.

    >>> tags_of("red; large ;", ";"), tags_of("-", ";"), tags_of(None, ";"), tags_of('["a", 2.0]', "json")
    (('red', 'large'), (), None, ('a', '2'))
    """
    if cell is None:
        return None
    if cell in NONE_APPLIES:
        return ()
    parts: Sequence[object]
    if separator == JSON_LIST:
        if not _is_list(cell):
            raise ValueError(f"{cell!r:.80} is no JSON list, such as most cells of its column hold")
        parts = json.loads(cell)
    else:
        parts = cell.split(separator) if separator else [cell]
    return tuple(dict.fromkeys(tag for part in parts if (tag := label_of(str(part).strip()))))


def _is_list(cell: str) -> bool:
    try:
        found = json.loads(cell) if cell.startswith("[") else None
    except ValueError:
        return False
    return isinstance(found, list) and not any(isinstance(tag, list | dict) for tag in found)
