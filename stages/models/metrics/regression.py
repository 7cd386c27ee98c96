"""Metrics of predicted numbers: how much of their spread is explained, how far off they are, whether ranks agree."""

from collections.abc import Mapping, Sequence

import numpy as np


def number_metrics(expected: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Score predictions of one number, both of shape (S,), in the unit of the number itself.

    Returns:
        `r2`: the share of the squared spread round the mean of `expected` that is explained: 1 is perfect, 0 what
        always saying that mean would reach, below 0 is worse; 0 where all expected numbers are equal. `rmse` and `mae`,
        by scikit-learn. `rank_correlation`: Spearman's, by scipy; 0 where either side is constant.

    Example:
        >>> scores = number_metrics(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
        >>> {name: round(score, 3) for name, score in scores.items()}
        {'r2': -1.0, 'rmse': 1.155, 'mae': 0.667, 'rank_correlation': 1.0}
    """
    from scipy.stats import spearmanr  # here and below: imports that take a second each
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    constant = len(np.unique(expected)) < 2 or len(np.unique(predicted)) < 2
    return {
        "r2": float(r2_from_sums(r2_sums(expected, predicted).sum(0))),
        "rmse": float(root_mean_squared_error(expected, predicted)),
        "mae": float(mean_absolute_error(expected, predicted)),
        "rank_correlation": 0.0 if constant else float(spearmanr(expected, predicted).statistic),
    }


def interval_metrics(expected: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    """Return the share of numbers inside their intervals, ends included, and how wide those are on average.

    Example:
        >>> interval_metrics(np.array([1.0, 9.0]), np.array([0.0, 2.0]), np.array([4.0, 4.0]))
        {'coverage': 0.5, 'mean_width': 3.0}
    """
    inside = (low <= expected) & (expected <= high)
    return {"coverage": float(inside.mean()), "mean_width": float((high - low).mean())}


def r2_sums(expected: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return, per sample, what R2 is made of when summed: (S, 4), zeros where the expected number is nan."""
    known = ~np.isnan(expected)
    if not known.any():
        return np.zeros((len(expected), 4))
    centred = np.where(known, expected - expected[known].mean(), 0.0)  # else squares of large numbers lose the rest
    squared_error = np.where(known, (expected - predicted) ** 2, 0.0)
    return np.stack([squared_error, centred**2, centred, known.astype(np.float64)], axis=1)


def r2_from_sums(summed: np.ndarray) -> np.ndarray:
    """Turn sums (..., 4) into R2 (...)."""
    error, square, total, count = np.moveaxis(summed, -1, 0)
    spread = square - total**2 / np.maximum(count, 1)
    there = spread > 1e-12 * np.maximum(square, 1e-300)
    return np.where(there, 1 - error / np.where(there, spread, 1), 0.0)


def over_numbers(scores: Mapping[str, Mapping[str, float]], averaged: Sequence[str]) -> dict[str, object]:
    """Return the scores of one number as they are; of several `..._by_number`, and the mean of those in `averaged`.

    Numbers have units of their own, so only what has none is averaged.

    Example:
        >>> over_numbers({"price": {"r2": 0.5, "mae": 3.0}, "year": {"r2": 0.1, "mae": 9.0}}, ["r2"])
        {'r2': 0.3, 'r2_by_number': {'price': 0.5, 'year': 0.1}, 'mae_by_number': {'price': 3.0, 'year': 9.0}}
    """
    if len(scores) == 1:
        return dict(next(iter(scores.values())))
    found: dict[str, object] = {}
    for metric in dict.fromkeys(metric for of_number in scores.values() for metric in of_number):
        values = {name: of_number[metric] for name, of_number in scores.items() if metric in of_number}
        if metric in averaged:
            found[metric] = float(np.mean(list(values.values())))
        found[f"{metric}_by_number"] = values
    return found
