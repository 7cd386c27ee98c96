"""Which columns of a user's table are fields: those that have no other role and may tell something, each with its kind.

What is left out is said with its reason: ids, texts that hardly repeat, what never changes, what is the label again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stages.base.errors import InputError
from stages.base.store import FIELDS
from stages.media.fields.kinds import AUTO, CATEGORY, habit_of, is_missing
from stages.sources.table.columns import is_id
from stages.sources.table.rows import Row

HARDLY_REPEATS = 0.5  # of filled cells that differ, above which a column of words is text
FEWEST = 20  # filled cells from which on it counts that hardly one repeats

Kinds = dict[str, str]
"""By column, a kind of `media.fields.kinds`, or `auto`."""


def roles_of(kinds: Kinds) -> dict[str, str]:
    """Return the fields as columns by role, each with a role of its own."""
    return {f"{FIELDS}.{name}": name for name in kinds}


def fields_of(value: Mapping[str, str]) -> dict[str, str | None] | None:
    """Return the cells of fields by column, of a row's cells by role; None where there is none."""
    roles = (role for role in value if role.startswith(f"{FIELDS}."))
    return {role.removeprefix(f"{FIELDS}."): value[role] for role in roles} or None


def wanted_fields(wanted: Any, names: Sequence[str], columns: Mapping[str, str], where: str) -> Kinds | None:
    """Return the fields that params.yaml names, a list of columns or their kinds; None where they are to be guessed.

    Raises:
        InputError: a column that is not there, or that is the label.
    """
    if wanted == AUTO:
        return None
    found: Kinds = dict(wanted) if isinstance(wanted, dict) else {}
    found = dict.fromkeys(wanted, AUTO) if isinstance(wanted, list) else found
    for name in found:
        if name not in names:
            raise InputError(f"{where}: no column {name!r}, given in columns.{FIELDS}; it has {', '.join(names)}")
        if name == columns.get("label"):
            raise InputError(f"{where}: columns.{FIELDS} has {name}, which is the label: it would be given and asked")
    return found


def guess_fields(
    names: Sequence[str], head: Sequence[Row], columns: Mapping[str, str], is_medium: Callable[[str], bool]
) -> tuple[Kinds, dict[str, str]]:
    """Return the columns that are fields with their kinds, and those that are none with the reason.

    Args:
        names: the columns that there are.
        head: the first rows.
        columns: by role, those that are taken.
        is_medium: tells of a cell whether it names a file.
    """
    found, left_out = Kinds(), dict[str, str]()
    for name in names:
        if name not in columns.values():
            reason = next(_reasons(name, head, columns, is_medium), "")
            if reason:
                left_out[name] = reason
            else:
                found[name] = habit_of(_cells(name, head))[0].kind
    return found, left_out


def _reasons(
    name: str, head: Sequence[Row], columns: Mapping[str, str], is_medium: Callable[[str], bool]
) -> Iterator[str]:
    cells = _cells(name, head)
    different = set(cells)
    if any(name in row.odd for row in head):
        yield "lists"
    if not cells:
        yield "empty"
    elif len(different) == 1:
        yield f"always {cells[0]}"
    if _counts_up(cells) or (is_id(name) and 2 * len(different) > len(cells)):
        yield "an id"
    if 2 * sum(map(is_medium, cells)) > len(cells):
        yield "files"
    label = columns.get("label")
    if label and _says_the_same(name, label, head):
        yield f"{label} again"
    hardly = len(different) == len(cells) or (len(cells) >= FEWEST and len(different) > HARDLY_REPEATS * len(cells))
    if hardly and habit_of(cells)[0].kind == CATEGORY:
        yield "text that hardly repeats"
    if (anchor := _anchor(columns)) and _differs_within(name, anchor, head):
        yield f"differs between rows of the same {anchor}"


def _cells(name: str, head: Sequence[Row]) -> list[str]:
    return [row.cells[name] for row in head if not is_missing(row.cells.get(name))]


def _counts_up(cells: Sequence[str]) -> bool:
    """Tell whether each cell is the number after the one before."""
    if len(cells) < 3 or not all(cell.isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(after - before == 1 for before, after in zip(numbers, numbers[1:], strict=False))


def _says_the_same(name: str, label: str, head: Sequence[Row]) -> bool:
    """Tell whether each cell of a column goes with one label and the other way round."""
    pairs = {(row.cells[name], row.cells[label]) for row in head if name in row.cells and label in row.cells}
    return len(pairs) > 1 and len({cell for cell, _ in pairs}) == len({name for _, name in pairs}) == len(pairs)


def _anchor(columns: Mapping[str, str]) -> str | None:
    """Return the column by which rows are one sample, where several can be; see `groups.grouped`."""
    if "question" not in columns and ("text" not in columns or "label" in columns):
        return None
    return next((columns[role] for role in ("image", "audio", "video", "id") if role in columns), None)


def _differs_within(name: str, anchor: str, head: Sequence[Row]) -> bool:
    pairs = {(row.cells[anchor], row.cells.get(name)) for row in head if anchor in row.cells}
    return len(pairs) > len({first for first, _ in pairs})


def told_left_out(left_out: Mapping[str, str]) -> str:
    """Say which columns are no fields, and why; empty where none is left."""
    if not left_out:
        return ""
    return "\n    left out of the fields: " + ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
