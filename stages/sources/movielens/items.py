"""The films of MovieLens by their number, so that ratings can be joined to them.

Genres and year are those of `u.item`. Of `items.csv` the plot alone is read: what people thought of a film
(`vote_average`, `vote_count`) would give ratings away.
"""

import csv
import io
import re
from dataclasses import dataclass

from stages.base.errors import InputError
from stages.raw.archive import Archive
from stages.sources.base import Fault

FOLDER, PLOTS, POSTERS = "ml-100k", "items.csv", "posters"
UNKNOWN = "unknown"  # a genre of `u.genre` that says that there is none
BEFORE_GENRES = 5  # fields of a line of `u.item`: number, title, dates of cinema and video, address
NUMBER, PLOT = "movie_id", "overview"  # columns of items.csv
_YEAR = re.compile(r"-(\d{4})$|\((\d{4})\)$")


@dataclass(frozen=True)
class Film:
    """One film; what is not known of it is None, no genre an empty tuple."""

    number: int
    title: str
    year: int | None
    genres: tuple[str, ...]
    plot: str | None


def read_films(archive: Archive) -> tuple[dict[int, Film], list[Fault]]:
    """Return the films by number, and the lines that cannot be used.

    Raises:
        InputError: a file of the archive is missing.
    """
    genres = _genres(_text(archive, f"{FOLDER}/u.genre"))
    plots = _plots(_text(archive, PLOTS))
    films, faults = {}, []
    for row, line in enumerate(_text(archive, f"{FOLDER}/u.item").splitlines(), start=1):
        fields = line.split("|")
        if len(fields) != BEFORE_GENRES + len(genres) or not fields[0].isdigit():
            what = f"expected {BEFORE_GENRES} fields and {len(genres)} genres, found {line!r:.80}"
            faults.append(Fault(f"u.item: line {row}", what))
            continue
        number, title, flags = int(fields[0]), fields[1].strip(), fields[BEFORE_GENRES:]
        named = tuple(g for g, flag in zip(genres, flags, strict=True) if flag == "1" and g != UNKNOWN)
        films[number] = Film(number, title, _year(fields[2], title), named, plots.get(number))
    return films, faults


def poster(archive: Archive, film: Film) -> bytes | None:
    """Return the picture of a film, None where the archive has none."""
    name = f"{POSTERS}/{film.number}.jpg"
    return archive.read(name) if name in archive else None


def _text(archive: Archive, name: str) -> str:
    """Return a file as text: the public lists are Latin-1, the plots UTF-8."""
    if name not in archive:
        raise InputError(f"{archive.path}: no {name} in it; expected {FOLDER}/, {PLOTS} and {POSTERS}/")
    return archive.read(name).decode("utf8" if name == PLOTS else "latin-1")


def _genres(text: str) -> list[str]:
    lines = (line.rpartition("|") for line in text.splitlines() if line.strip())
    return [name for name, _, number in sorted(lines, key=lambda parts: int(parts[2]))]


def _plots(text: str) -> dict[int, str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    there = rows.fieldnames or ()
    if missing := {NUMBER, PLOT} - {*there}:
        raise InputError(f"{PLOTS}: no column {' and '.join(sorted(missing))}; it has {', '.join(there)}")
    return {int(row[NUMBER]): row[PLOT].strip() for row in rows if row[NUMBER].isdigit() and (row[PLOT] or "").strip()}


def _year(released: str, title: str) -> int | None:
    """Return the year that the title names, else that of the day of release, which may be a later one."""
    found = [_YEAR.search(text.strip()) for text in (title, released)]
    return next((int(match[1] or match[2]) for match in found if match), None)
