"""MovieLens 100k (Harper and Konstan 2015) with posters and plots: films, and who rated which of them how and when.

A sample is a film. Its ratings stand in its row, each with the split on which it is known; the film's own split is by
its number, so that films that no training has seen can be told as well.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from stages.raw.archive import open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.movielens.items import read_films
from stages.sources.movielens.ratings import RatingSplits, read_ratings
from stages.sources.splits import split_by_hash

FILE = "movielens-100k-posters.zip"


class MovieLensParams(RatingSplits, Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def sha256(self) -> str:
        """The digest of the archive; empty accepts any."""


class MovieLens(Source):
    """One sample is one film: a poster, a plot and a title, as far as they are known, and its ratings."""

    fields = ("image", "texts", "message", "ratings")

    def __init__(self, params: MovieLensParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive."""
        return (RemoteFile(FILE, (), tuple(filter(None, (self.params.sha256,)))),)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the films in order of their numbers, after the lines that are faulty."""
        with open_archive(folder / FILE) as archive:
            films = read_films(archive)
            own = {f: split_by_hash(f, self.params.val_fraction, self.params.test_fraction) for f in films}
            ratings, faults = read_ratings(archive, own, self.params)
            yield from faults
            for number, film in films.items():
                yield RawSample(
                    number,
                    own[number],
                    image=film.poster(archive),
                    texts=(film.plot,) if film.plot else (),
                    message=film.title,
                    ratings=tuple(ratings.get(number, ())),
                )
