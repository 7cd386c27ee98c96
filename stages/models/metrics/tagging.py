"""Metrics of several tags a sample: how well scores rank the samples of each tag, and what thresholds make of them.

Shapes: S samples, C tags. A tag that a model does not know has a score of zero everywhere: an ordinary case.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np


def truth_of(tags: Sequence[Collection[str]], names: Sequence[str]) -> np.ndarray:
    """Return which of the named tags each sample has, (S, C) of zeros and ones."""
    places = {name: place for place, name in enumerate(names)}
    truth_SC = np.zeros((len(tags), len(names)))
    for row, found in zip(truth_SC, tags, strict=True):
        row[[places[tag] for tag in found if tag in places]] = 1.0
    return truth_SC


def average_precisions(truth_SC: np.ndarray, scores_SC: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return the average precision of each tag that some sample has, by scikit-learn.

    Example:
        >>> truth, scores = np.array([[1, 0], [0, 0], [1, 0]]), np.array([[0.9, 0.1], [0.5, 0.2], [0.1, 0.3]])
        >>> {name: round(score, 4) for name, score in average_precisions(truth, scores, ["red", "blue"]).items()}
        {'red': 0.8333}
    """
    from sklearn.metrics import average_precision_score

    there = [place for place in range(len(names)) if truth_SC[:, place].any()]
    return {names[c]: float(average_precision_score(truth_SC[:, c], scores_SC[:, c])) for c in there}


def f1_scores(expected: Sequence[Collection[str]], said: Sequence[Collection[str]]) -> Mapping[str, float]:
    """Return F1 over all decisions, and its mean over the tags that are expected or said somewhere, by scikit-learn.

    Example:
        >>> f1_scores([{"red", "ring"}, {"blue"}], [{"red"}, {"blue", "ring"}])
        {'micro_f1': 0.6666666666666666, 'macro_f1': 0.6666666666666666}
    """
    from sklearn.metrics import f1_score

    names = sorted(set().union(*expected, *said))
    if not names:
        return {"micro_f1": 1.0, "macro_f1": 1.0}
    found = truth_of(expected, names), truth_of(said, names)
    return {f"{kind}_f1": float(f1_score(*found, average=kind, zero_division=0)) for kind in ("micro", "macro")}


def best_threshold(truth_S: np.ndarray, scores_S: np.ndarray) -> float:
    """Return the threshold with the best F1, half way to the next lower score; of equals the highest.

    Example:
        >>> round(best_threshold(np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.6, 0.4])), 3)
        0.5
    """
    order = np.argsort(-scores_S, kind="stable")
    ranked, right = scores_S[order], truth_S[order].cumsum()
    ends = np.append(ranked[1:] < ranked[:-1], True)  # between equal scores there is no threshold
    f1 = np.where(ends, 2 * right / (np.arange(1, len(order) + 1) + truth_S.sum()), -1.0)
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def weighed_precisions(counts: np.ndarray, truth_SC: np.ndarray, scores_SC: np.ndarray) -> np.ndarray:
    """Return average precisions times positives, then the positives, (..., 2C), of samples that are drawn so often.

    Args:
        counts: How often each sample is drawn, (..., S); ones for the samples as they are.
        truth_SC: Which tags the samples have.
        scores_SC: Those of the model.
    """
    sums, positives = [], []
    for truth_S, scores_S in zip(truth_SC.T, scores_SC.T, strict=True):
        order = np.argsort(-scores_S, kind="stable")
        ranked = scores_S[order]
        last = np.searchsorted(-ranked, -ranked, side="right") - 1  # equal scores are above a threshold together
        drawn = counts[..., order]
        right = drawn * truth_S[order]
        precision = right.cumsum(-1)[..., last] / np.maximum(drawn.cumsum(-1)[..., last], 1)
        sums.append((right * precision).sum(-1))
        positives.append(right.sum(-1))
    return np.stack([*sums, *positives], axis=-1)


def macro_precision(summed: np.ndarray) -> np.ndarray:
    """Turn what `weighed_precisions` gives (..., 2C) into the mean over the tags that are there (...)."""
    sums, positives = np.split(summed, 2, axis=-1)
    there = positives > 0
    each = np.where(there, sums / np.maximum(positives, 1), 0.0)
    return each.sum(-1) / np.maximum(there.sum(-1), 1)
