"""Dates as people write them: ISO, day or month first, with the month's name, with or without a time of day."""

import re
import unicodedata
from datetime import datetime
from functools import lru_cache

MONTHS = (  # in English, German, French, Spanish, Italian, Portuguese, Dutch, without accents
    "january januar janvier enero gennaio janeiro januari",
    "february februar fevrier febrero febbraio fevereiro februari",
    "march marz maerz mars marzo marco maart mrt",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august aout agosto augustus",
    "september septembre septiembre settembre setembro sept",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember decembre diciembre dicembre dezembro",
)
_TIME = (
    r"(?:(?:T|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2}(?:[.,]\d+)?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?:(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
    r"|\s?年\s?(?P<month2>\d{1,2})\s?月\s?(?P<day2>\d{1,2})\s?日)" + _TIME
)
_TWO_FIRST = re.compile(
    r"(?P<first>\d{1,2})(?P<mark>[./-])\s?(?P<second>\d{1,2})(?P=mark)\s?(?P<year>\d{4}|\d{2})" + _TIME
)
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})(?:\.|st|nd|rd|th|er|º)?[\s-]*(?:de\s+)?(?P<name>[^\W\d_]{3,})"
    r"|(?P<name2>[^\W\d_]{3,})\.?\s+(?P<day2>\d{1,2})(?:st|nd|rd|th)?)"
    r"\.?,?[\s-]*(?:de\s+)?(?P<year>\d{4}|\d{2})" + _TIME
)
_YOUNGEST = 68  # two digits up to this are of this century, as POSIX has it


def date_of(cell: str, day_first: bool) -> str | None:
    """Return a date in ISO form, with hour and minute where the cell has them; None where it is none.

    >>> [date_of(cell, True) for cell in ("3/4/2024", "Mar 5, 2024", "2024-02-30", "1.2.24 14:05")]
    ['2024-04-03', '2024-03-05', None, '2024-02-01T14:05']
    """
    text = unicodedata.normalize("NFKC", cell).strip()
    if found := _YEAR_FIRST.fullmatch(text):
        return _iso(found, found["month"] or found["month2"], found["day"] or found["day2"])
    if found := _TWO_FIRST.fullmatch(text):
        first, second = found["first"], found["second"]
        return _iso(found, second, first) if day_first or found["mark"] == "." else _iso(found, first, second)
    if found := _NAMED.fullmatch(text):
        return _iso(found, _month(found["name"] or found["name2"]), found["day"] or found["day2"])
    return None


def proven_order(cell: str) -> bool | None:
    """Tell whether a date must have its day first (True) or its month (False); None where both can be."""
    found = _TWO_FIRST.fullmatch(unicodedata.normalize("NFKC", cell).strip())
    if not found or found["mark"] == ".":
        return None
    first, second = int(found["first"]), int(found["second"])
    return None if max(first, second) <= 12 else first > 12


def is_open(cell: str) -> bool:
    """Tell whether a date is read by its column's order."""
    found = _TWO_FIRST.fullmatch(unicodedata.normalize("NFKC", cell).strip())
    return found is not None and found["mark"] != "." and found["first"] != found["second"]


def _iso(found: re.Match[str], month: str | None, day: str) -> str | None:
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 2000 if year <= _YOUNGEST else 1900
    hour, minute = int(found["hour"] or 0), int(found["minute"] or 0)
    if half := (found["half"] or "")[:1].lower():
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "p")
    try:
        moment = datetime(year, int(month or 0), int(day), hour, minute)
    except ValueError:
        return None
    return moment.isoformat(timespec="minutes") if found["hour"] else moment.date().isoformat()


@lru_cache(maxsize=1024)
def _month(name: str) -> str | None:
    """Return the number of a month by its name or three letters of it and more; None where none or several fit."""
    word = "".join(c for c in unicodedata.normalize("NFD", name.casefold()) if not unicodedata.combining(c))
    fits = [str(i) for i, names in enumerate(MONTHS, start=1) if any(n.startswith(word) for n in names.split())]
    return fits[0] if len(fits) == 1 else None
