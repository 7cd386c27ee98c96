"""A data set is one pool of all its samples, with or without media, whichever split's ratings are asked about."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.base.errors import InputError
from stages.base.store import FEATURES, INDEX, writing
from stages.models.pool import ASKS, Pool, load
from stages.models.tables import PRESENT
from tests.support.small_splits import CPU

COLUMNS = ("rating_users", "rating_values", "rating_times", "rating_splits")
READING = Pool("own", {"image": "own-image"}, COLUMNS)
SAMPLES = {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}
LACKS = "b"  # an image


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(split_of: dict[str, str]) -> None:
    """Write a data set, each sample rated once, on the split that is named, and one number as its image."""
    index = []
    with writing("prepare", "own", {}) as draft:
        for split, names in SAMPLES.items():
            rated = [[split_of[name]] if name in split_of else [] for name in names]
            rows = {"sample_id": names, "rating_splits": rated}
            rows |= {
                "rating_users": [["ann"] * len(r) for r in rated],
                "rating_values": [[4.0] * len(r) for r in rated],
            }
            pq.write_table(
                pa.table(rows | {"rating_times": [[1] * len(r) for r in rated]}), draft.folder / f"{split}-0.parquet"
            )
            index += [(name, split, [] if name == LACKS else [ord(name) - ord("a")]) for name in names]
    with writing("features", "own-image", {}) as draft:
        np.save(draft.folder / FEATURES, np.arange(5, dtype=np.float32)[:, None])
        ids, splits, places = zip(*index, strict=True)
        pq.write_table(pa.table({"sample_id": ids, "split": splits, "rows": places}), draft.folder / INDEX)


def test_all_samples_are_there_whichever_split_is_asked_about():
    write({"a": "train", "b": "test", "d": "val"})
    for split in SAMPLES:
        pool = load(READING, split, CPU, 1e9)
        assert [row["sample_id"] for row in pool.rows] == ["a", "b", "c", "d", "e"]
        assert {row[ASKS] for row in pool.rows} == {split}
        ((_, _, batch),) = pool.in_order(8)
        assert batch["image"].flatten().tolist() == [0, 0, 2, 3, 4]
        assert batch["image" + PRESENT].tolist() == [True, False, True, True, True]


def test_a_data_set_without_ratings_is_named():
    write({})
    with pytest.raises(InputError, match="data set own has no ratings, which the task needs"):
        load(READING, "train", CPU, 1e9)


def test_a_split_without_ratings_is_named():
    write({"a": "train", "d": "test"})
    with pytest.raises(InputError, match="no rating is on the split val; raise its val_fraction and test_fraction"):
        load(READING, "val", CPU, 1e9)
