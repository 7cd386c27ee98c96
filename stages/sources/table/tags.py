"""Tags of a user's table: what separates them in a cell is found from the column as a whole."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from stages.sources.table.labels import label_of

JSON_LIST = "json"
SEPARATORS = (";", "|", ",")  # the first that is usual: a comma may stand in a tag
USUAL = 0.05  # of the cells
NONE_APPLIES = ("-", "none", "[]")  # an empty cell says that nobody knows


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
