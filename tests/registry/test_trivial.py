"""The gate promotes nothing on a test split, or on answers, that prove nothing."""

import doctest

import pytest

from stages.registry import trivial
from stages.registry.trivial import proves_nothing

IDS = ["1", "2", "3", "4"]


def test_docstring_examples_hold():
    results = doctest.testmod(trivial)
    assert results.attempted > 0 and results.failed == 0


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"expected": ["cat"] * 4, "label": ["cat", "cat", "dog", "cat"]},
            "every right answer on the test split is 'c",
        ),
        ({"expected": ["no"] * 4, "answer": ["no"] * 4}, "every right answer on the test split is 'no', "),
        ({"references": [["a dog"]] * 4, "caption": ["a", "b", "c", "d"]}, "every right answer on the test split is "),
        ({"expected": ["cat", "dog"] * 2, "label": ["cat"] * 4}, "the model says 'cat' of every test sample, and its "),
        ({"match": ["yes"] * 4}, "the model says 'yes' of every test sample, and its accuracy of 0.5000 is not above "),
        ({"expected": ["cat", "dog"] * 2, "label": ["cat", "cat", "dog", "cat"]}, None),
        ({"references": [["a dog"], ["a cat"]] * 2, "caption": ["a dog"] * 4}, None),
        ({"query_rank": [1, 2, 3, 4], "target_ranks": [[1]] * 4}, None),
    ],
)
def test_a_test_or_answers_that_are_all_equal_prove_nothing(columns, told):
    metrics = {"accuracy": 0.5, "baselines": {"majority": {"accuracy": 0.5}}}
    found = proves_nothing({"sample_id": IDS, **columns}, metrics, "accuracy")
    assert found is None if told is None else found.startswith(told)


@pytest.mark.parametrize(("score", "refused"), [(0.4, True), (0.5, True), (0.51, False)])
def test_one_answer_to_all_is_enough_where_it_beats_the_majority_of_training(score, refused):
    records = {"sample_id": IDS, "expected": ["cat", "dog"] * 2, "label": ["dog"] * 4}
    metrics = {"accuracy": score, "baselines": {"majority": {"accuracy": 0.5}, "only_text": {"accuracy": 0.9}}}
    assert (proves_nothing(records, metrics, "accuracy") is not None) == refused


def test_one_sample_proves_nothing_whatever_the_task():
    records = {"sample_id": ["1"], "query_rank": [1], "target_ranks": [[1]]}
    assert proves_nothing(records, {"mean_recall": 1.0, "baselines": {}}, "mean_recall") == (
        "the test split has one sample"
    )
    questions = {"sample_id": ["1", "1"], "expected": ["a", "b"], "answer": ["a", "a"]}  # of one sample
    assert proves_nothing(questions, {"accuracy": 0.5}, "accuracy") == "the test split has one sample"
