"""Boosted trees beside a model of fields: they learn classes, numbers and labels, and answer what lacks fields."""

import numpy as np
import pytest

from stages.models.boosted import BOOSTED, boosted, columns_of
from stages.models.tables import FeatureTable, Split
from tests.support.small_splits import CPU, SPECS, make_split, make_task

CARDINALITIES = (0, 4, 0)
SAMPLES = 400


def split(seed: int, lacking: tuple[int, ...] = ()) -> tuple[Split, np.ndarray]:
    """Make a split whose samples are more than 0 in the first field, or of the category 2."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((SAMPLES, 3, 3), np.float32)
    rows[:, 0, 2] = rng.normal(size=SAMPLES)
    rows[:, 1, 1] = rng.integers(0, 4, SAMPLES)
    rows[:, 2, 0] = 1
    places = [[] if i in lacking else [i] for i in range(SAMPLES)]
    table = FeatureTable(rows, places, CPU, 1e9)
    return Split([{"sample_id": str(i)} for i in range(SAMPLES)], {"fields": table}), rows


def is_positive(rows: np.ndarray) -> np.ndarray:
    return ((rows[:, 0, 2] > 0) ^ (rows[:, 1, 1] == 2)).astype(int)


def test_trees_learn_classes_numbers_and_labels():
    (train, known), (test, asked) = split(1), split(2)
    wanted = is_positive(known)
    found = boosted(train, test, CARDINALITIES, wanted * 2, "class")
    assert found.shape == (SAMPLES, 3) and (found.argmax(1) == 2 * is_positive(asked)).mean() > 0.95
    numbers = boosted(train, test, CARDINALITIES, wanted * 10.0, "number")
    assert np.abs(numbers - 10 * is_positive(asked)).mean() < 1
    labels = np.stack([wanted, 1 - wanted, np.zeros(SAMPLES), np.ones(SAMPLES)], axis=1)
    several = boosted(train, test, CARDINALITIES, labels, "labels")
    assert ((several[:, 0] > 0.5) == is_positive(asked)).mean() > 0.95
    assert (several[:, 2:] == [0, 1]).all() and several.shape == labels.shape


def test_the_same_is_answered_each_time():
    (train, known), (test, _) = split(1), split(2)
    first, again = (boosted(train, test, CARDINALITIES, is_positive(known), "class") for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_samples_without_fields_are_left_out_and_answered():
    (train, known), (test, _) = split(1, lacking=(0, 5)), split(2, lacking=(3,))
    assert np.isnan(columns_of(test, CARDINALITIES)[3]).all()
    found = boosted(train, test, CARDINALITIES, is_positive(known), "class")
    assert np.isfinite(found).all() and found.shape == (SAMPLES, 2)


def test_a_missing_cell_is_nan_and_a_category_its_number():
    test, rows = split(2)
    columns = columns_of(test, CARDINALITIES)
    np.testing.assert_array_equal(columns[:, 1], rows[:, 1, 1])
    assert np.isnan(columns[:, 2]).all() and not np.isnan(columns[:, :2]).any()


@pytest.mark.parametrize("modalities", [("fields",), ("image", "fields"), ("image",)])
def test_classes_have_the_row_where_there_are_fields(modalities):
    task, whole = make_task("classify", modalities), make_split(modalities)
    rows = task.baselines(whole, whole)
    assert (BOOSTED in rows) == ("fields" in modalities)
    for answer in rows.get(BOOSTED, []):
        assert answer["label"] in task.classes and sum(answer["probabilities"]) == pytest.approx(1)
    assert len(SPECS["fields"].cardinalities) == 3
