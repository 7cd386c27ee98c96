"""MovieLens 100k (Harper and Konstan 2015) with posters and plots: films, their genres and years.

What stands in the archive: `ml-100k/` in the public form, `items.csv` (plots) and `posters/<movie id>.jpg` beside it.
A film is on one split under whatever number it is listed, by hash of its poster, else of its title.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.raw.archive import open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.movielens.items import Film, poster, read_films
from stages.sources.splits import content_key, split_by_hash

FILE = "movielens-100k-posters.zip"


class MovieLens(Source):
    """One sample is one film: poster, plot, genres and year; 19 have no poster, some no plot."""

    fields = ("image", "message", "tags", "numbers")

    def __init__(self, params: Any) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive, which has no public address: it lies in the section's mirror."""
        return (RemoteFile(FILE, (), tuple(filter(None, (self.params.sha256,)))),)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the films in order of their numbers, after the lines that are faulty."""
        with open_archive(folder / FILE) as archive:
            films, faults = read_films(archive)
            yield from faults
            for film in films.values():
                yield self._sample(film, poster(archive, film))

    def _sample(self, film: Film, image: bytes | None) -> RawSample:
        key = content_key(image) if image else film.title.casefold()
        split = split_by_hash(key, self.params.val_fraction, self.params.test_fraction)
        return RawSample(
            f"film-{film.number:04d}",
            split,
            image=image,
            message=film.plot,
            tags=film.genres,
            numbers={"year": film.year},
        )
