"""The films of MovieLens by their numbers."""

import csv
import io
from dataclasses import dataclass

from stages.raw.archive import Archive

ITEMS = "items.csv"


@dataclass(frozen=True)
class Film:
    """A film as the list has it."""

    number: str
    title: str
    plot: str

    def poster(self, archive: Archive) -> bytes | None:
        """Return the encoded poster, where there is one."""
        member = f"posters/{self.number}.jpg"
        return archive.read(member) if member in archive else None


def read_films(archive: Archive) -> dict[str, Film]:
    """Return the films by number, in order."""
    lines = csv.DictReader(io.StringIO(archive.read(ITEMS).decode("utf8"), newline=""))
    films = [Film(line["movie_id"], line["title"].strip(), line["overview"].strip()) for line in lines]
    return {film.number: film for film in sorted(films, key=lambda film: int(film.number))}
