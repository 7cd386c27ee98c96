"""MovieLens 100k (Harper and Konstan 2015) with posters and plots: films, their genres and years, and who rated them.

What stands in the archive: `ml-100k/` in the public form, `items.csv` (plots) and `posters/<movie id>.jpg` beside it.
A film's ratings stand in its row, each with the split on which it is known. The film's own split, for tasks about
films, is by hash of its poster, else of its title, under whatever number it is listed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from stages.raw.archive import open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source, Users
from stages.sources.movielens.items import Film, poster, read_films
from stages.sources.movielens.ratings import RatingSplits, read_ratings
from stages.sources.movielens.users import read_users
from stages.sources.splits import content_key, split_by_hash

FILE = "movielens-100k-posters.zip"


class MovieLensParams(RatingSplits, Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def sha256(self) -> str:
        """The digest of the archive; empty accepts any."""


class MovieLens(Source):
    """One sample is one film: poster, plot and title, genres and year, and its ratings.

    19 have no poster, some no plot. The year is a number to be predicted, and a field beside poster and plot.
    """

    fields = ("image", "texts", "message", "fields", "ratings", "tags", "numbers")

    def __init__(self, params: MovieLensParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive, which has no public address: it lies in the section's mirror."""
        return (RemoteFile(FILE, (), tuple(filter(None, (self.params.sha256,)))),)

    def field_kinds(self, folder: Path) -> dict[str, str]:
        """Return the kind of the one field."""
        return {"year": "number"}

    def users(self, folder: Path) -> Users | None:
        """Return age, gender and occupation of each user."""
        with open_archive(folder / FILE) as archive:
            return read_users(archive)[0]

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the films in order of their numbers, after the lines that are faulty."""
        with open_archive(folder / FILE) as archive:
            films, faults = read_films(archive)
            posters = {number: poster(archive, film) for number, film in films.items()}
            splits = {str(number): self._split(film, posters[number]) for number, film in films.items()}
            ratings, faulty = read_ratings(archive, splits, self.params)
            yield from (*faults, *faulty, *read_users(archive)[1])
            for number, film in films.items():
                year = None if film.year is None else str(film.year)
                yield RawSample(
                    f"film-{number:04d}",
                    splits[str(number)],
                    image=posters[number],
                    texts=(film.plot,) if film.plot else (),
                    message=film.title,
                    fields={"year": year},
                    ratings=tuple(ratings.get(str(number), ())),
                    tags=film.genres,
                    numbers={"year": film.year},
                )

    def _split(self, film: Film, picture: bytes | None) -> str:
        key = content_key(picture) if picture else film.title.casefold()
        return split_by_hash(key, self.params.val_fraction, self.params.test_fraction)
