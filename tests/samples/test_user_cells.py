"""What is told of users is read as the fields of a table are: how columns are written, raters in training decide."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from stages.media.columns import Columns
from stages.media.fields.kinds import Habit
from stages.models.pool import USERS, with_users
from stages.samples.ratings import write_users
from stages.sources.base import Users

CELLS = {
    "a": {"age": "30", "job": "cook"},
    "b": {"age": "old", "job": "smith"},
    "c": {"age": "1.050,5", "job": None},
    "d": {"age": "7", "job": "cook"},
    "never": {"age": "9", "job": "cook"},
}


def test_raters_in_training_decide_and_others_are_counted(tmp_path):
    rated = [
        ("train", ["a", "b", "c"], ["train", "train", "test"]),
        ("test", ["d", "a", "new"], ["train", "val", "test"]),
    ]
    for split, users, splits in rated:
        table = pa.table({"rating_users": [users, None], "rating_splits": [splits, None]})
        pq.write_table(table, tmp_path / f"{split}-00000.parquet")
    wrong, told = write_users(tmp_path, Users({"age": "number", "job": "auto"}, CELLS), 1)
    assert wrong == [{"where": "user b 'old'", "reason": "age is no number, the cell counts as empty"}]
    assert told[0] == "users: age (number), job (category): 4 of 5 who rate are told of; 1 others rate nothing"
    (row,) = with_users(tmp_path, [{"sample_id": "x"}])
    found = row[USERS]
    assert found.cells == {"a": ["30", "cook"], "b": [None, "smith"], "c": ["1050.5", None], "d": ["7", "cook"]}
    age, job = found.columns.columns
    assert (age.knots[0], age.knots[-1]) == (7.0, 30.0) and job.categories == ("cook", "smith")
    numbers = found.numbers(["a", "nobody", "b"], found.columns)
    assert numbers.shape == (3, 2, 3) and numbers[1, :, 0].all() and numbers[2, :, 0].tolist() == [1.0, 0.0]
    fewer = found.numbers(["a", "b"], Columns([job, replace(age, habit=Habit("category"))]))  # as a model had them
    assert fewer[0, 0].tolist() == numbers[0, 1].tolist() and fewer[:, 1, 0].all()
    assert with_users(tmp_path / "elsewhere", [{}]) == [{}]
