"""Ratings of MovieLens are read as the authors' files have them, and no rule of splits lets the test into training."""

import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import MovieLensParams
from stages.sources.base import Fault, RawSample
from stages.sources.movielens import FILE, MovieLens
from tests.support.small_data import encode, make_image

HEAD = "movie_id,title,Drama,Comedy,year,overview,vote_average\n"
POSTER = encode(make_image(1), "JPEG")


def line(user: int, film: int, value: int, time: int) -> str:
    return f"{user}\t{film}\t{value}\t{time}"


MANY = [line(user, film, 1 + (user + film) % 5, 10 * film + user) for user in range(1, 11) for film in range(1, 21)]


def read(folder: Path, files: dict[str, list[str]], split: str = "time", **changes: object) -> list[RawSample | Fault]:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr(
            "items.csv", HEAD + "".join(f"{n},Film {n},1,0,1990.0,Plot {n},9.9\n" for n in range(20, 0, -1))
        )
        archive.writestr("posters/1.jpg", POSTER)
        archive.writestr("ml-100k/u.genre", "unknown|0\nDrama|1\n")
        archive.writestr("ml-100k/u.item", "".join(f"{n}|Film {n}|01-Jan-1990|||0|1\n" for n in range(1, 21)))
        for name, lines in files.items():
            archive.writestr(f"ml-100k/{name}", "\n".join(lines) + "\n")
    section = {"folder": "none", "mirror": "", "sha256": "", "val_fraction": 0.2, "test_fraction": 0.2, **changes}
    return list(
        MovieLens(MovieLensParams.model_validate({"source": "movielens", "split": split, **section})).read(folder)
    )


def splits(found: list[RawSample | Fault]) -> dict[tuple[str, str], tuple[str, int]]:
    return {(r.user, s.sample_id): (r.split, r.time) for s in found if isinstance(s, RawSample) for r in s.ratings}


def test_a_film_comes_once_with_all_its_ratings(tmp_path):
    found = read(tmp_path, {"u.data": [line(7, 1, 4, 50), line(8, 1, 2, 60)]})
    assert [sample.sample_id for sample in found] == [f"film-{n:04d}" for n in range(1, 21)]
    assert (found[0].image, found[0].texts, found[0].message) == (POSTER, ("Plot 1",), "Film 1")
    assert [(r.user, r.value, r.time) for r in found[0].ratings] == [("7", 4.0, 50), ("8", 2.0, 60)]
    assert (found[1].image, found[1].ratings) == (None, ())


def test_by_time_nothing_learnt_is_as_late_as_what_is_asked(tmp_path):
    found = splits(read(tmp_path, {"u.data": MANY}))
    times = {name: [time for split, time in found.values() if split == name] for name in ("train", "val", "test")}
    assert max(times["train"]) < min(times["val"]) <= max(times["val"]) < min(times["test"])
    assert [len(times[name]) / len(MANY) for name in times] == pytest.approx([0.6, 0.2, 0.2], abs=0.05)


def test_by_user_each_is_asked_about_what_came_last(tmp_path):
    found = splits(read(tmp_path, {"u.data": MANY}, "user_time"))
    for user in range(1, 11):
        own = {
            name: [t for (u, _), (s, t) in found.items() if (u, s) == (str(user), name)] for name in ("train", "test")
        }
        assert own["test"] and max(own["train"]) < min(own["test"])


def test_by_item_a_film_is_held_out_with_all_its_ratings(tmp_path):
    found = read(tmp_path, {"u.data": MANY}, "items")
    assert {sample.split for sample in found} == {"train", "val", "test"}
    assert all(rating.split == sample.split for sample in found for rating in sample.ratings)


def test_the_authors_folds_are_kept_where_they_are(tmp_path):
    files = {"u2.base": MANY[:150], "u2.test": MANY[150:]}
    found = splits(read(tmp_path, files, "folds", fold=2))
    asked = {(user, f"film-{int(film):04d}") for user, film, *_ in (text.split("\t") for text in MANY[150:])}
    assert {pair for pair, (split, _) in found.items() if split == "test"} == asked
    assert {split for split, _ in found.values()} == {"train", "val", "test"}
    with pytest.raises(InputError, match=r"ml-100k/u1.base is not in it, which split: folds needs; use split: time"):
        read(tmp_path, files, "folds")


def test_lines_that_cannot_be_used_are_named(tmp_path):
    found = read(tmp_path, {"u.data": [line(1, 1, 4, 5), "1\t2\tgood\t5", line(1, 99, 3, 6), line(1, 1, 2, 9)]})
    faults = [(fault.where.rpartition(" ")[2], fault.reason) for fault in found if isinstance(fault, Fault)]
    assert faults == [
        ("2", "expected user, film, rating and time, found '1\\t2\\tgood\\t5'"),
        ("3", "film 99 is no film of the list"),
        ("4", "film 1 rated before by the same user"),
    ]
