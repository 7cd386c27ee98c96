"""Fields of samples: columns are read as the training split writes them, and statistics are of it alone."""

import pyarrow.parquet as pq

from stages.media.fields.kinds import Habit
from stages.samples.checks import Outcome, prepare_rows
from stages.samples.fields import Told, columns_of, find_habits
from stages.samples.schema import samples_schema
from stages.samples.writer import write_splits
from stages.sources.base import Fault, RawSample
from tests.samples.test_checks import LIMITS

KINDS = {"Weight": "auto", "Breed": "auto", "Code": "category", "Seen": "auto"}


def sample(number, split="train", fault=None, **cells):
    return RawSample(f"s{number}", split, fields={"Seen": "3/2/2024", **cells}, fault=fault)


TRAIN = [sample(i, Weight=f"{i},5 kg", Breed=("Pug", "Husky")[i % 2], Code="7") for i in range(20)]
ODD = [
    sample(20, Weight="heavy", Breed="Rare", Code="n/a", Seen="13/2/2024"),
    sample(21, "test", Weight="1000,5", Breed="Unseen", Code="8"),
    sample(22, "test", Weight="12 lb", Seen="2/13/2024"),
    Fault("row 7", "empty"),
    sample(23, fault="no such file", Weight="9000,0 kg", Breed="Ghost"),
    RawSample("s24", "test", label="dog", message="a dog", fields={"Weight": "-", "Breed": " "}),
]


def prepared(folder, samples):
    outcome = Outcome(habits=find_habits(KINDS, samples))
    rows = prepare_rows(iter(samples), (), LIMITS, outcome)
    write_splits(rows, folder, samples_schema(["fields", "message"]), 2**20)
    return outcome, columns_of(folder, outcome.habits.by_name, 2)


def test_cells_stand_normalised_in_the_order_of_the_columns(tmp_path):
    outcome, columns = prepared(tmp_path, [*TRAIN, *ODD])
    assert [column.habit for column in columns.columns] == [
        Habit("number", ",", "kg"),
        Habit("category"),
        Habit("category"),
        Habit("date", day_first=True),
    ]
    train = pq.read_table(tmp_path / "train-00000.parquet")["fields"].to_pylist()
    assert train[3] == ["3.5", "Husky", "7", "2024-02-03"]
    assert train[20] == [None, "Rare", None, "2024-02-13"]
    test = pq.read_table(tmp_path / "test-00000.parquet")["fields"].to_pylist()
    assert test == [["1000.5", "Unseen", "8", "2024-02-03"], None]
    assert list(outcome.habits.lines()) == ["Seen: the day comes first, as 1 cells tell: 3/2/2024 is 2024-02-03"]


def test_what_is_not_of_its_kind_is_named_with_sample_and_column(tmp_path):
    outcome, _ = prepared(tmp_path, [*TRAIN, *ODD])
    assert [(row["where"], row["reason"]) for row in outcome.quarantine] == [
        ("s20 'heavy'", "Weight is no number of kg, the cell counts as empty"),
        ("s22 '12 lb'", "Weight is no number of kg, the cell counts as empty"),
        ("s22 '2/13/2024'", "Seen is no date, the cell counts as empty"),
        ("s22", "nothing in it: no image, sound, video, text, question or field"),
        ("row 7", "empty"),
        ("s23", "no such file"),
    ]


def test_statistics_are_of_the_training_split_alone(tmp_path):
    _, columns = prepared(tmp_path, [*TRAIN, *ODD])
    weight, breed, code, seen = columns.columns
    assert (weight.cells, weight.knots[0], weight.knots[-1]) == (20, 0.5, 19.5)
    assert breed.categories == ("Husky", "Pug") and code.categories == ("7",)
    assert seen.cells == 21


def test_the_screen_tells_how_each_column_is_spread(tmp_path):
    _, columns = prepared(tmp_path, [*TRAIN, *ODD])
    told = Told(columns)
    for path in sorted(tmp_path.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row["fields"]:
                told.add(row, path.name.partition("-")[0])
    first, weight, breed, code, seen = told.lines()
    assert first == "fields: 4 columns of 22 samples"
    assert weight.startswith("fields: Weight: number of kg, 0.5 to 1000.5, median 10.5 ") and "█" in weight
    assert weight.endswith(", 1 empty")
    assert breed == (
        "fields: Breed: category, 4 different: Pug 10, Husky 10, Unseen 1, Rare 1; "
        "2 are of none that training has often enough"
    )
    assert (
        code == "fields: Code: category, 2 different: 7 20, 8 1; 1 are of none that training has often enough, 1 empty"
    )
    assert seen.startswith("fields: Seen: date, 2024-02-03 to 2024-02-13, median 2024-02-03 ")
