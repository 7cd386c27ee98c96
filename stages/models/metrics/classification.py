"""Metrics of one answer among classes: accuracy, macro F1, calibration, confusion and scores by group.

A label outside the classes that a model knows is an ordinary case: the model cannot give it, so it is an error.
"""

from collections.abc import Sequence

import numpy as np

CALIBRATION_BINS = 15


def classification_metrics(
    labels: Sequence[str], predictions: Sequence[str], confidences: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Score predicted classes.

    Args:
        labels: The true class of each sample; one outside `classes` counts as an error.
        predictions: The predicted class of each sample.
        confidences: Shape (S,), the probability that the model gave to its prediction.
        classes: Those that the model knows.

    Returns:
        Fractions `accuracy`, `macro_f1` (mean over the classes that occur as label or prediction, by
        scikit-learn) and `calibration_error` (see there).

    Raises:
        ValueError: There are no samples, the lists differ in length, a prediction is not one of `classes`,
            or a confidence is no probability.

    Example:
        Of cats both are found, with one dog too many: F1 4 / 5; of dogs none, of birds none is known.

        >>> labels, predictions = ["cat", "cat", "dog", "bird"], ["cat", "cat", "cat", "dog"]
        >>> scores = classification_metrics(labels, predictions, np.full(4, 0.75), ["cat", "dog"])
        >>> {name: round(score, 4) for name, score in scores.items()}
        {'accuracy': 0.5, 'macro_f1': 0.2667, 'calibration_error': 0.25}
    """
    from sklearn.metrics import f1_score  # here and below: imports that take a second each

    _check(labels, predictions, confidences)
    _check_predictions(predictions, classes)
    correct = np.array([label == prediction for label, prediction in zip(labels, predictions, strict=True)])
    return {
        "accuracy": float(correct.mean()),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
        "calibration_error": calibration_error(confidences, correct),
    }


def calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Average |accuracy - mean confidence| over 15 equal bins of confidence, weighted by samples, by torchmetrics.

    Both have shape (S,). Source: Guo et al. 2017, expected calibration error.

    Raises:
        ValueError: A confidence is no probability.

    Example:
        Three samples at 0.9 of which two are right, and one wrong at 0.5: 3/4 * |2/3 - 0.9| + 1/4 * |0 - 0.5|.

        >>> round(calibration_error(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, False])), 4)
        0.3
    """
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise ValueError(f"confidences from {confidences.min()} to {confidences.max()}: they must be 0 to 1")
    scores, hits = torch.tensor(confidences, dtype=torch.float64), torch.tensor(correct, dtype=torch.int64)
    return float(binary_calibration_error(scores, hits, n_bins=CALIBRATION_BINS))


def confusion(labels: Sequence[str], predictions: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Count samples by label (rows) and prediction (columns), both in the order of `classes`.

    Returns:
        Shape (C + 1, C): the last row holds the samples whose label is none of `classes`.

    Raises:
        ValueError: There are no samples, the lists differ in length, or a prediction is not one of `classes`.

    Example:
        >>> confusion(["cat", "dog", "bird"], ["cat", "cat", "dog"], ["cat", "dog"])
        array([[1, 0],
               [1, 0],
               [0, 1]])
    """
    _check(labels, predictions)
    _check_predictions(predictions, classes)
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes) + 1, len(classes)), dtype=np.int64)
    for label, prediction in zip(labels, predictions, strict=True):
        counts[place.get(label, len(classes)), place[prediction]] += 1
    return counts


def accuracy_by(labels: Sequence[str], predictions: Sequence[str], groups: Sequence[str]) -> dict[str, float]:
    """Return the accuracy in each group, groups sorted.

    Raises:
        ValueError: There are no samples, or the lists differ in length.

    Example:
        >>> accuracy_by(["cat", "dog", "dog"], ["cat", "dog", "cat"], ["young", "old", "young"])
        {'old': 1.0, 'young': 0.5}
    """
    _check(labels, predictions, groups)
    correct: dict[str, list[bool]] = {group: [] for group in sorted(set(groups))}
    for label, prediction, group in zip(labels, predictions, groups, strict=True):
        correct[group].append(label == prediction)
    return {group: sum(of_group) / len(of_group) for group, of_group in correct.items()}


def binary_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, by scikit-learn: the chance that a positive outscores a negative.

    Both have shape (S,); targets are 0 or 1, equal scores count half.

    Raises:
        ValueError: All targets are the same.

    Example:
        >>> binary_auc(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.6]))
        0.75
    """
    from sklearn.metrics import roc_auc_score

    if len(np.unique(targets)) != 2:
        raise ValueError("ROC AUC needs samples of both classes")
    return float(roc_auc_score(targets, scores))


def _check(labels: Sequence[str], predictions: Sequence[str], *beside: Sequence[str] | np.ndarray) -> None:
    if not len(labels):
        raise ValueError("no predictions to score: the list of samples is empty")
    lengths = [len(values) for values in (labels, predictions, *beside)]
    if len(set(lengths)) > 1:
        raise ValueError(f"lists of {', '.join(map(str, lengths))} values: every sample needs one of each")


def _check_predictions(predictions: Sequence[str], classes: Sequence[str]) -> None:
    unknown = sorted(set(predictions) - set(classes))
    if unknown:
        raise ValueError(f"prediction {unknown[0]!r} is none of the {len(classes)} classes")
