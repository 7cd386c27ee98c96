"""Metrics of one answer among classes: hand-computed cases and naive oracles."""

import doctest
import random

import numpy as np
import pytest

from stages.models.metrics import classification
from stages.models.metrics.classification import (
    accuracy_by,
    binary_auc,
    calibration_error,
    classification_metrics,
    confusion,
)

CLASSES = ["cat", "dog", "fox"]


def random_answers(num_samples=200, seed=0):
    """Labels of which some are none of the classes, predictions and confidences."""
    rng = random.Random(seed)
    labels = rng.choices([*CLASSES, "yak"], k=num_samples)
    predictions = [label if label in CLASSES and rng.random() < 0.5 else rng.choice(CLASSES) for label in labels]
    return labels, predictions, np.array([rng.random() for _ in range(num_samples)])


def test_docstring_examples_hold():
    results = doctest.testmod(classification)
    assert results.attempted > 0
    assert results.failed == 0


def naive_macro_f1(labels, predictions):
    scores = []
    for name in {*labels, *predictions}:
        pairs = [(label == name, prediction == name) for label, prediction in zip(labels, predictions, strict=True)]
        hits = pairs.count((True, True))
        scores.append(2 * hits / (2 * hits + pairs.count((True, False)) + pairs.count((False, True))))
    return sum(scores) / len(scores)


def naive_calibration_error(confidences, correct):
    error = 0.0
    for i in range(15):
        held = [j for j, c in enumerate(confidences) if i / 15 <= c < (i + 1) / 15 or (i == 14 and c == 1)]
        if held:
            accuracy = sum(correct[j] for j in held) / len(held)
            error += abs(accuracy - sum(confidences[j] for j in held) / len(held)) * len(held) / len(confidences)
    return error


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_the_naive_ones(seed):
    labels, predictions, confidences = random_answers(seed=seed)
    confidences[:2] = 0.0, 1.0
    correct = [label == prediction for label, prediction in zip(labels, predictions, strict=True)]
    scores = classification_metrics(labels, predictions, confidences, CLASSES)
    assert list(scores) == ["accuracy", "macro_f1", "calibration_error"]
    assert scores["accuracy"] == pytest.approx(sum(correct) / len(correct))
    assert scores["macro_f1"] == pytest.approx(naive_macro_f1(labels, predictions))
    assert scores["calibration_error"] == pytest.approx(naive_calibration_error(confidences, correct))
    assert all(type(score) is float for score in scores.values())


def test_a_label_that_no_training_sample_had_is_an_error():
    scores = classification_metrics(["yak", "cat"], ["cat", "cat"], np.ones(2), CLASSES)
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores["calibration_error"] == 0.5


def test_confidence_that_is_right_on_average_has_no_calibration_error():
    assert calibration_error(np.full(4, 0.75), np.array([1, 1, 1, 0], bool)) == pytest.approx(0)
    assert calibration_error(np.full(4, 0.75, np.float32), np.ones(4, bool)) == pytest.approx(0.25)


def test_confusion_counts_every_sample_once():
    labels, predictions, _ = random_answers()
    counts = confusion(labels, predictions, CLASSES)
    for i, label in enumerate([*CLASSES, "yak"]):
        for j, prediction in enumerate(CLASSES):
            assert counts[i, j] == list(zip(labels, predictions, strict=True)).count((label, prediction))
    assert counts.sum() == len(labels) and counts[-1].sum() == labels.count("yak") > 0


def test_accuracy_by_group_averages_to_the_accuracy():
    labels, predictions, _ = random_answers()
    groups = random.Random(1).choices(["b", "a", "c"], k=len(labels))
    scores = accuracy_by(labels, predictions, groups)
    assert list(scores) == ["a", "b", "c"]
    whole = sum(score * groups.count(group) for group, score in scores.items()) / len(groups)
    assert whole == pytest.approx(classification_metrics(labels, predictions, np.ones(200), CLASSES)["accuracy"])


def test_auc_equals_the_count_of_pairs_in_order():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 60), rng.integers(0, 10, 60) / 10  # with ties
    pairs = [(a > b) + (a == b) / 2 for a in scores[targets == 1] for b in scores[targets == 0]]
    assert binary_auc(targets, scores) == pytest.approx(sum(pairs) / len(pairs))
    with pytest.raises(ValueError, match="samples of both classes"):
        binary_auc(np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("labels", "predictions", "confidences", "message"),
    [
        ([], [], [], "no predictions"),
        (["cat"], ["cat", "dog"], [1.0], "lists of 1, 2, 1 values"),
        (["cat"], ["cat"], [0.5, 0.5], "lists of 1, 1, 2 values"),
        (["cat"], ["yak"], [0.5], "prediction 'yak' is none of the 3 classes"),
        (["cat"], ["cat"], [1.5], "confidences from 1.5 to 1.5: they must be 0 to 1"),
        (["cat"], ["cat"], [float("nan")], "they must be 0 to 1"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(labels, predictions, confidences, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, predictions, np.array(confidences), CLASSES)
