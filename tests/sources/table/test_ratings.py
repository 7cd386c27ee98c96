"""A table of ratings beside a user's table of items: columns are guessed, odd rows named, each rating is on a split."""

from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import TableParams
from stages.sources.base import Fault, RawSample, Users
from stages.sources.table import ROLES, Table

HOME = Path("data/mine")
ITEMS = "sku,title,description\n7,One,a red one\n8,Two,a blue one\n9.0,Three,a green one\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project as the current folder."""
    monkeypatch.chdir(tmp_path)
    HOME.mkdir(parents=True)
    Path("raw").mkdir()


def read(ratings: str, items: str = ITEMS, test_fraction: float = 0.0, **changes) -> tuple[dict, list[Fault]]:
    """Write both tables and take them through both stages; return the ratings by item, and the faults."""
    (HOME / "items.csv").write_text(items)
    (HOME / "ratings.csv").write_text(ratings)
    columns = dict.fromkeys(ROLES, "none") | {"id": "sku", "message": "title", "text": "description"}
    section = {"source": "table", "folder": "mine", "table": "items.csv", "columns": columns, "split_by": "hash"}
    section |= {"val_fraction": 0.0, "test_fraction": test_fraction, "ratings": {"table": "ratings.csv"} | changes}
    own = Table(TableParams.model_validate(section))
    own.generate(Path("raw"), seed=1)
    (HOME / "ratings.csv").unlink()  # reading needs what was kept alone
    found = list(own.read(Path("raw")))
    samples = [one for one in found if isinstance(one, RawSample)]
    return {s.sample_id: [tuple(vars(r).values()) for r in s.ratings] for s in samples}, [
        one for one in found if isinstance(one, Fault)
    ]


def test_ratings_are_found_by_the_names_and_writing_of_their_columns(capsys):
    found, faults = read("Kunde;SKU;Bewertung;Datum\nanna;7;4,5;3.2.2024\nbob;9;2;28.1.2024\nanna;9;5;1.3.2024\n")
    assert not faults and found["8"] == []
    assert found["7"] == [("anna", 4.5, 1706918400, "train")]
    assert [rating[:2] for rating in found["9.0"]] == [("anna", 5.0), ("bob", 2.0)]
    told = capsys.readouterr().out
    assert "ratings: {user: Kunde, item: SKU, value: Bewertung, time: Datum}" in told


def test_the_latest_are_the_test_of_all_or_of_each_user():
    rows = "user,item,rating,timestamp\na,7,1,10\na,8,2,20\na,9,3,30\nb,7,4,1\nb,8,5,2\nb,9,5,40\n"
    for rule, tested in (("time", {("a", "9.0"), ("b", "9.0")}), ("user_time", {("a", "9.0"), ("b", "9.0")})):
        found, _ = read(rows, test_fraction=0.33, split=rule)
        assert {(user, item) for item, own in found.items() for user, _, _, split in own if split == "test"} == tested
    found, _ = read(rows, test_fraction=0.17, split="time")
    assert [own[-1][-1] for own in found.values()] == ["train", "train", "test"]


def test_of_whole_items_each_rating_is_on_the_split_of_its_item():
    items = "sku,title,description\n" + "".join(f"{i},t{i},text {i}\n" for i in range(40))
    rows = "user,item\n" + "".join(f"{user},{i}\n" for i in range(40) for user in "ab")
    found, _ = read(rows, items, test_fraction=0.4, split="items")
    splits = [{split for *_, split in own} for own in found.values()]
    assert all(len(own) == 1 for own in splits) and set.union(*splits) == {"train", "test"}
    by_hash, _ = read(rows, items, test_fraction=0.4, split="hash")
    assert any(len({split for *_, split in own}) == 2 for own in by_hash.values())


def test_a_row_without_a_value_is_a_like(capsys):
    found, _ = read("user_id,item_id\na,7\nb,8\n", split="hash")
    assert found["7"] == [("a", 1.0, 0, "train")]
    assert "each row says 1: liked" in capsys.readouterr().out


def test_each_row_that_does_not_count_is_named():
    rows = (
        "user,item,rating,time\na,7,4,2\n,7,4,3\na,70,4,3\nb,8,many,3\nb,8,5,soon\na,7,1,1\nc,8,5,5\nb,9,3\nc,8,4,5\n"
    )
    found, faults = read(rows)
    assert found == {"7": [("a", 4.0, 2, "train")], "8": [("c", 4.0, 5, "train")], "9.0": []}
    assert [(fault.where, fault.reason) for fault in faults] == [
        ("ratings.csv: row 3", "column user: no user"),
        ("ratings.csv: row 4", "item '70' is no id of items.csv"),
        ("ratings.csv: row 5", "column rating: 'many' is no number"),
        ("ratings.csv: row 6", "column time: 'soon' is no number"),
        ("ratings.csv: row 7", "user 'a' rated item '7' again in row 2, which counts"),
        ("ratings.csv: row 9", "3 cells, the header has 4; is a quote left open or missing?"),
        ("ratings.csv: row 8", "user 'c' rated item '8' again in row 10, which counts"),
    ]


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ("who,item\na,7\n", {"split": "hash"}, r"no column is the user \(looked for user, .*who, item; .*user: who"),
        ("user,what\na,7\n", {"split": "hash"}, r"no column is the item .*ratings: \{item: user\}"),
        ("user,item\na,7\n", {}, "ratings.split is time, but no column is the time"),
        ("user,item,time\na,7,1\n", {"value": "stars"}, "no column 'stars', given as ratings.value; it has user, item"),
        ("user,item,time\na,7,soon\n", {}, "the column time has neither dates nor numbers"),
        ("user,item\na,7\n", {"table": "items.csv"}, "ratings.table is the table itself"),
        ("user,item\na,7\n", {"table": "more/ratings.csv"}, "expected a file name without folders"),
        ("user,item\na,7\n", {"table": "rated.csv"}, "rated.csv: no such file: ratings.table is a table beside"),
    ],
)  # fmt: skip
def test_a_table_of_ratings_that_cannot_be_read_is_told(rows, changes, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        read(rows, **changes)


def test_ratings_want_ids():
    (HOME / "items.csv").write_text(ITEMS)
    section = {"source": "table", "folder": "mine", "table": "items.csv", "split_by": "hash", "val_fraction": 0.0}
    section |= {"columns": dict.fromkeys(ROLES, "none") | {"text": "description"}, "test_fraction": 0.0}
    own = Table(TableParams.model_validate(section | {"ratings": {"table": "ratings.csv"}}))
    with pytest.raises(InputError, match="ratings name its rows by id, and no column is the id: give columns.id"):
        own.generate(Path("raw"), seed=1)


def users(text: str, **changes) -> tuple[Users | None, list[Fault]]:
    (HOME / "users.csv").write_text(text)
    _, faults = read("user,item\na,7\nb,8\n", split="hash", users="users.csv", **changes)
    section = {"source": "table", "folder": "mine", "table": "items.csv", "split_by": "hash", "val_fraction": 0.0}
    section |= {"columns": dict.fromkeys(ROLES, "none") | {"id": "sku"}, "test_fraction": 0.0}
    own = Table(TableParams.model_validate(section | {"ratings": {"table": "ratings.csv", "users": "users.csv"}}))
    return own.users(Path("raw")), faults


def test_a_table_of_users_tells_of_them(capsys):
    found, faults = users("id,age,job,name\na,30,cook,Ann\nb,41,cook,Bob\n,1,x,Eve\na,31,smith,Amy\n")
    assert found == Users(
        {"age": "number", "job": "category"}, {"a": {"age": "30", "job": "cook"}, "b": {"age": "41", "job": "cook"}}
    )
    assert [(fault.where, fault.reason) for fault in faults] == [
        ("users.csv: row 4", "column id: no user"),
        ("users.csv: row 5", "told of before"),
    ]
    told = capsys.readouterr().out
    assert "users by id: age (number), job (category)" in told and "name (text that hardly repeats)" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,job\n3,cook\n", r"no column names the user \(looked for user, id, ...\); it has age, job"),
        ("user,name\na,Ann\nb,Bob\n", r"no column tells anything of the users: left out .*name \(text"),
    ],
)
def test_a_table_of_users_that_tells_nothing_is_told(text, message):
    with pytest.raises(InputError, match=message):
        users(text)
