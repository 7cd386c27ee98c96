"""What kind a column is, and how its cells are written: decided by all of its cells together, then said."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from stages.media.fields.dates import date_of, is_open, proven_order
from stages.media.fields.numbers import Written, number_of, proven_mark, written

NUMBER, CATEGORY, DATE, BOOLEAN = "number", "category", "date", "boolean"
AUTO = "auto"
ENOUGH = 0.8  # of a column's cells that read as a kind make it one; the rest is told
MISSING = frozenset(
    (
        *("", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "none", "-", "--", "–", "—", "?", "."),
        *("unknown", "unbekannt", "inconnu", "desconocido", "k.a.", "k. a.", "n.v.", "nc", "n.c.", "nd", "n.d.", "s/d"),
        *("无", "未知", "不明", "なし"),
    )
)
TRUE = frozenset(("yes", "y", "true", "t", "ja", "j", "oui", "o", "vrai", "wahr", "si", "sí", "sì", "sim", "是", "对"))
FALSE = frozenset(("no", "n", "false", "f", "nein", "non", "faux", "falsch", "nee", "não", "否", "不是"))
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


@dataclass(frozen=True)
class Habit:
    """A column's kind, and how its cells are written."""

    kind: str
    decimal: str = "."
    unit: str = ""
    day_first: bool = True


FIXED = {  # kinds that say how cells are written too, for a column that leaves it open or misleads
    "number_comma": Habit(NUMBER, decimal=","),
    "number_point": Habit(NUMBER, decimal="."),
    "date_day_first": Habit(DATE, day_first=True),
    "date_month_first": Habit(DATE, day_first=False),
}


def is_missing(cell: str | None) -> bool:
    """Tell whether a cell says that there is no value."""
    return cell is None or cell.strip().casefold() in MISSING


def normalised(cell: str, habit: Habit) -> str | None:
    """Return what a cell says, in the one form of its kind; None where it is not of the kind.

    >>> normalised("€ 1.234,50", Habit("number", ",", "€")), normalised("Oui", Habit("boolean"))
    ('1234.5', 'true')
    """
    if habit.kind == DATE:
        return date_of(cell, habit.day_first)
    if habit.kind == BOOLEAN:
        word = cell.strip().casefold()
        return "true" if word in TRUE | {"1"} else "false" if word in FALSE | {"0"} else None
    if habit.kind == CATEGORY:
        folded = " ".join(unicodedata.normalize("NFC", cell).split())
        return whole[1] if (whole := _WHOLE.fullmatch(folded)) else folded
    number = written(cell)
    if number is None or number.unit not in ("", habit.unit):
        return None
    value = number_of(number, habit.decimal)
    return f"{value:.15g}" if abs(value) < 1e300 else None


def habit_of(cells: Iterable[str], wanted: str = AUTO) -> tuple[Habit, list[str]]:
    """Return what a column is by its cells that are not missing, and what of it was decided, in words for a person.

    `wanted` is a kind, one of `FIXED`, or `AUTO`.
    """
    counts = Counter(cells)
    fixed = FIXED.get(wanted)
    kind = fixed.kind if fixed else kind_of(counts) if wanted == AUTO else wanted
    if kind == NUMBER:
        return _number_habit(counts, fixed)
    if kind == DATE:
        return _date_habit(counts, fixed)
    return Habit(kind), []


def kind_of(counts: Counter[str]) -> str:
    """Return the first kind that enough of the cells read as; categories are what nothing else is."""
    habits = [] if set(counts) <= {"0", "1"} else [Habit(BOOLEAN)]
    for habit in (*habits, _date_habit(counts)[0], _number_habit(counts)[0]):
        read = sum(n for cell, n in counts.items() if normalised(cell, habit))
        if counts and read >= ENOUGH * counts.total():
            return habit.kind
    return CATEGORY


def _number_habit(counts: Counter[str], fixed: Habit | None = None) -> tuple[Habit, list[str]]:
    """Find unit and decimal mark: those that most cells have."""
    found = [(number, n) for cell, n in counts.items() if (number := written(cell))]
    units, marks, unclear = Counter[str](), Counter[str](), list[Written]()
    for number, n in found:
        units[number.unit] += n
        if mark := proven_mark(number.body):
            marks[mark] += n
        elif set(".,") & set(number.body):
            unclear.append(number)
    del units[""]
    told = []
    decimal = fixed.decimal if fixed else _commonest(marks)
    if decimal is None:
        decimal = "."
        if unclear:
            how = f"{unclear[0].body} is {number_of(unclear[0], decimal):g}"
            told.append(f"no cell tells whether a comma or a point is the decimal mark: {how}; else number_comma")
    return Habit(NUMBER, decimal, _commonest(units) or ""), told


def _date_habit(counts: Counter[str], fixed: Habit | None = None) -> tuple[Habit, list[str]]:
    """Find which comes first, day or month: what most of the cells that tell say."""
    if fixed:
        return fixed, []
    orders = Counter[bool]()
    for cell, n in counts.items():
        if (order := proven_order(cell)) is not None:
            orders[order] += n
    opens = [cell for cell in counts if is_open(cell)]
    if not opens:
        return Habit(DATE), []
    day_first = orders[True] >= orders[False]
    first = "day" if day_first else "month"
    reason = f"as {max(orders.values())} cells tell" if orders else "as no cell tells; else date_month_first"
    told = f"the {first} comes first, {reason}: {opens[0]} is {date_of(opens[0], day_first) or 'no date'}"
    return Habit(DATE, day_first=day_first), [told]


def _commonest(counts: Counter[str]) -> str | None:
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None
