"""Who rated which film, how and when (`u.data`), and on which split each rating is known.

`time` takes the latest of all ratings for the test, as a system that went live would be asked; most users rated on one
day, so that few of them are known by then. `user_time` takes each user's latest. `folds` are the authors' own files
`u1.base` to `u5.test`. `items` holds out whole films: each rating is on its film's split.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

from stages.base.errors import InputError
from stages.raw.archive import Archive
from stages.sources.base import Fault, Rating
from stages.sources.splits import split_by_hash, split_ratings

FOLDER = "ml-100k"
RATINGS = f"{FOLDER}/u.data"
Line = tuple[str, str, float, int]  # user, film, value, time


class RatingSplits(Protocol):
    """How ratings are put on splits."""

    @property
    def split(self) -> str:
        """The rule: `time`, `user_time`, `folds` or `items`."""

    @property
    def fold(self) -> int:
        """Which of the public folds, 1 to 5, where the rule is `folds`."""

    @property
    def val_fraction(self) -> float:
        """The part of ratings, or films, that is kept for validation."""

    @property
    def test_fraction(self) -> float:
        """The part that is kept for the test; of `folds` the authors' own."""


def read_ratings(
    archive: Archive, films: Mapping[str, str], params: RatingSplits
) -> tuple[dict[str, list[Rating]], list[Fault]]:
    """Return the ratings by film, and the lines that cannot be used; `films` are those known, with their splits.

    Raises:
        InputError: when a file that the rule needs is not in the archive.
    """
    faults: list[Fault] = []
    if params.split == "folds":
        base, test = (f"{FOLDER}/u{params.fold}.{part}" for part in ("base", "test"))
        for name in (base, test):
            if name not in archive:
                raise InputError(f"{archive.path}: {name} is not in it, which split: folds needs; use split: time")
        known, asked = (_lines(archive, name, films, faults) for name in (base, test))
        splits = [split_by_hash(f"{user} {film}", params.val_fraction) for user, film, _, _ in known]
        lines, splits = known + asked, splits + ["test"] * len(asked)
    else:
        if RATINGS not in archive:
            raise InputError(f"{archive.path}: no {RATINGS} in it; expected ml-100k/, items.csv and posters/")
        lines = _lines(archive, RATINGS, films, faults)
        splits = _splits(lines, films, params)
    found: dict[str, list[Rating]] = defaultdict(list)
    for (user, film, value, time), split in zip(lines, splits, strict=True):
        found[film].append(Rating(user, value, time, split))
    return found, faults


def _splits(lines: list[Line], films: Mapping[str, str], params: RatingSplits) -> list[str]:
    """Return the split of each rating by the rule."""
    if params.split == "items":
        return [films[film] for _, film, _, _ in lines]
    together = [user if params.split == "user_time" else "" for user, _, _, _ in lines]
    times = [time for _, _, _, time in lines]
    return split_ratings(together, times, params.val_fraction, params.test_fraction)


def _lines(archive: Archive, name: str, films: Mapping[str, str], faults: list[Fault]) -> list[Line]:
    """Return a file's ratings in order; add the lines that cannot be used, counted from 1."""
    lines: list[Line] = []
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(archive.read(name).decode("latin-1").splitlines(), start=1):
        try:
            user, film, value, time = line.split("\t")
            rating = user, film, float(value), int(time)
        except ValueError:
            faults.append(Fault(f"{name}: line {number}", f"expected user, film, rating and time, found {line!r:.80}"))
            continue
        if film not in films or (user, film) in seen:
            why = "rated before by the same user" if film in films else "is no film of the list"
            faults.append(Fault(f"{name}: line {number}", f"film {film} {why}"))
            continue
        seen.add((user, film))
        lines.append(rating)
    return lines
