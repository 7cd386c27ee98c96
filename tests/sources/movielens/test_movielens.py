"""MovieLens's films are read from their public lists: genres and years as they stand there, what lacks left out."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.base.errors import InputError
from stages.sources.base import Fault, Rating, RawSample
from stages.sources.movielens import FILE, MovieLens
from tests.support.small_data import encode, make_image

GENRES = "unknown|0\nAction|1\nFilm-Noir|2\n\n"
POSTER = encode(make_image(1), "JPEG", progressive=True)
ITEMS = (
    "1|Toy Story (1995)|01-Jan-1995||http://x|0|1|1\n"
    "2|Am\xe9lie (1931)|23-Feb-1996||http://x|0|0|1\n"
    "267|unknown||||1|0|0\n"
    "4|Toy Story (1995)|01-Jan-1995||http://x|0|0|0\n"
    "five|Bad|x\n"
)
PLOTS = (
    "movie_id,title,overview,vote_average,vote_count\n"
    '1,Toy Story,"Woody, a toy.\nAnd Buzz.",9.9,7\n2,Amélie,"",1.2,3\n4,Toy Story,Again.,5,5\n'
)
FILES = {"ml-100k/u.item": ITEMS.encode("latin-1"), "ml-100k/u.genre": GENRES.encode(), "items.csv": PLOTS.encode()}
FILES |= {"ml-100k/u.data": b"7\t2\t4\t100\n"}


def read(folder: Path, files: dict[str, bytes], val: float = 0.0, test: float = 0.0) -> list[RawSample | Fault]:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    params = SimpleNamespace(sha256="", split="items", fold=1, val_fraction=val, test_fraction=test)
    return list(MovieLens(params).read(folder))


def test_a_film_has_what_the_lists_say_of_it(tmp_path):
    fault, *films = read(tmp_path, FILES | {"posters/1.jpg": POSTER})
    assert fault == Fault("u.item: line 5", "expected 5 fields and 3 genres, found 'five|Bad|x'")
    toy = {"message": "Toy Story (1995)", "fields": {"year": "1995"}, "numbers": {"year": 1995}}
    year = {"fields": {"year": "1931"}, "numbers": {"year": 1931}}
    rated = {"ratings": (Rating("7", 4.0, 100, "train"),)}
    unknown = {"fields": {"year": None}, "numbers": {"year": None}}
    plot = ("Woody, a toy.\nAnd Buzz.",)
    assert films == [
        RawSample("film-0001", "train", image=POSTER, texts=plot, tags=("Action", "Film-Noir"), **toy),
        RawSample("film-0002", "train", message="Amélie (1931)", tags=("Film-Noir",), **year, **rated),
        RawSample("film-0267", "train", message="unknown", tags=(), **unknown),
        RawSample("film-0004", "train", texts=("Again.",), tags=(), **toy),
    ]


def test_the_same_film_under_two_numbers_is_on_one_split(tmp_path):
    items = "".join(f"{n}|Film {n % 40}|01-Jan-1990|||0|1|0\n" for n in range(1, 81))
    posters = {f"posters/{n}.jpg": encode(make_image(n % 40), "JPEG") for n in range(1, 81) if n % 40 < 20}
    films = read(tmp_path, FILES | posters | {"ml-100k/u.item": items.encode()}, 0.3, 0.3)
    splits = [film.split for film in films if isinstance(film, RawSample)]
    assert {*splits} == {"train", "val", "test"} and splits[:39] == splits[40:79]


@pytest.mark.parametrize("name", FILES)
def test_an_archive_without_its_lists_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"no {name} in it; expected ml-100k/, items.csv and posters/"):
        read(tmp_path, {key: data for key, data in FILES.items() if key != name})


def test_plots_without_their_column_are_refused(tmp_path):
    with pytest.raises(InputError, match="items.csv: no column overview; it has movie_id, title"):
        read(tmp_path, FILES | {"items.csv": b"movie_id,title\n1,x\n"})


def test_users_have_age_gender_and_occupation(tmp_path):
    lines = "7|24|M|technician|85711\n8|53|F|other|94043\n7|30|F|writer|1\nbad\n"
    faults = [one for one in read(tmp_path, FILES | {"ml-100k/u.user": lines.encode()}) if isinstance(one, Fault)]
    assert [fault.where for fault in faults[1:]] == ["ml-100k/u.user: line 3", "ml-100k/u.user: line 4"]
    params = SimpleNamespace(sha256="", split="items", fold=1, val_fraction=0.0, test_fraction=0.0)
    found = MovieLens(params).users(tmp_path)
    assert found.kinds == {"age": "number", "gender": "category", "occupation": "category"}
    assert found.cells["7"] == {"age": "24", "gender": "M", "occupation": "technician"} and len(found.cells) == 2
    read(tmp_path, FILES)
    assert MovieLens(params).users(tmp_path) is None
