"""Numbers as people write them: decimal commas, thousands marks, a unit or currency before or behind."""

import re
import unicodedata
from typing import NamedTuple

_NUMBER = re.compile(
    r"(?P<sign>[+\-−–]?)\s*(?P<before>[^\W\d_]{0,2}[$€£¥₹₽฿₺₩]|[^\W\d_]{2,4}\.?\s)?\s*(?P<inner>[+\-−–]?)\s*"
    r"(?P<body>\d[\d.,'’\s]*|[.,]\d+)(?P<power>[eE][+\-]?\d+)?\s*"
    r"(?P<after>(?:[^\W\d_]|[%‰°€$£¥₹])[^\d\s]*[23]?(?:\s[^\d\s]{1,8})?)?"
)
_GROUPED = re.compile(r"\d{1,3}(?:[\s'’]\d{3})+(?:[.,]\d+)?")
_POINTS = {mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in ".,"}


class Written(NamedTuple):
    """A number with its unit as it stands in a cell; `body` has digits and marks alone."""

    negative: bool
    body: str
    power: str
    unit: str


def written(cell: str) -> Written | None:
    """Take a cell apart; None where it is no number, such as a word, a range, a time, or a code like `007`."""
    found = _NUMBER.fullmatch(unicodedata.normalize("NFKC", cell).strip())
    if not found or (found["sign"] and found["inner"]):
        return None
    body = found["body"].strip()
    if re.search(r"[\s'’]", body):
        if not _GROUPED.fullmatch(body):
            return None
        body = re.sub(r"[\s'’]", "", body)
    if (len(body) > 1 and body.isdigit() and body[0] == "0") or _marks(body) is None:
        return None
    unit = f"{found['before'] or ''}{found['after'] or ''}".strip(" .").casefold()
    return Written((found["sign"] or found["inner"]) not in ("", "+"), body, found["power"] or "", unit)


def proven_mark(body: str) -> str | None:
    """Return the decimal mark that a number proves, as `3,5` or `1.234,50` do; None for `1234` and `1,234`."""
    return found if (found := _marks(body)) in (".", ",") else None


def number_of(number: Written, decimal: str) -> float:
    """Return the value, where what could be either is read by the column's `decimal` mark."""
    mark = _marks(number.body) or ""
    mark = decimal if mark == "either" else mark
    kept = "".join("." if letter == mark else "" if letter in ".," else letter for letter in number.body)
    return (-1 if number.negative else 1) * float(kept + number.power)


def _marks(body: str) -> str | None:
    """Return the decimal mark: `.`, `,`, `either`, or "" for none; None for what is no number, such as `1.2.3`."""
    points = [mark for mark in ".," if mark in body]
    if not points:
        return ""
    if len(points) == 2:
        last = max(".,", key=body.rfind)
        whole, _, _ = body.rpartition(last)
        other = "," if last == "." else "."
        return last if body.count(last) == 1 and _POINTS[other].fullmatch(whole) else None
    mark = points[0]
    if body.count(mark) > 1:
        return ("," if mark == "." else ".") if _POINTS[mark].fullmatch(body) else None
    whole, _, part = body.partition(mark)
    if not part:
        return None
    return "either" if len(part) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0" else mark
