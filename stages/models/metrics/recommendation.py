"""Recommendation: where what a user likes stands among all that could be recommended, and what is recommended at all.

Shapes: N items, W items that a user likes (wanted). Several wanted items may be found; each counts.
"""

from collections.abc import Sequence

import numpy as np

K = 10


def ranks_among(scores_N: np.ndarray, allowed_N: np.ndarray, wanted_W: np.ndarray) -> np.ndarray:
    """Return the rank of each wanted item among the allowed ones, shape (W,); 1 is best.

    Ties count against: an item stands behind all that are as good, so who finds all alike finds nothing.

    Raises:
        ValueError: A score is not a finite number.

    Example:
        >>> ranks_among(np.array([0.9, 0.5, 0.7, 0.5]), np.array([False, True, True, True]), np.array([1, 2]))
        array([3, 1])
    """
    if not np.isfinite(scores_N).all():
        raise ValueError("scores hold values that are not finite numbers: they cannot be ranked")
    others = np.sort(scores_N[allowed_N])
    return len(others) - np.searchsorted(others, scores_N[wanted_W], side="left")


def top(scores_N: np.ndarray, allowed_N: np.ndarray, k: int = K) -> np.ndarray:
    """Return the numbers of the best allowed items, best first; of equals the first.

    Example:
        >>> top(np.array([0.9, 0.5, 0.7, 0.5]), np.array([False, True, True, True]), k=2)
        array([2, 1])
    """
    allowed = np.flatnonzero(allowed_N)
    return allowed[np.argsort(-scores_N[allowed], kind="stable")[:k]]


def ndcg_at(ranks_W: np.ndarray, k: int = K) -> float:
    """Return the discounted gain of one user's wanted items, of the most there could be (Järvelin and Kekäläinen 2002).

    Example:
        Of two one is found, in the second place: 1 / log2(3) of 1 + 1 / log2(3).

        >>> round(ndcg_at(np.array([2, 30])), 4)
        0.3869
    """
    gains = 1 / np.log2(1 + np.arange(1, k + 1))
    found = ranks_W[ranks_W <= k]
    return float(gains[found - 1].sum() / gains[: len(ranks_W)].sum())


def recall_at(ranks_W: np.ndarray, k: int = K) -> float:
    """Return the fraction of one user's wanted items among the first k.

    Example:
        >>> recall_at(np.array([2, 30]))
        0.5
    """
    return float((ranks_W <= k).mean())


def ranking_metrics(ranks: Sequence[np.ndarray], k: int = K) -> dict[str, float]:
    """Return `ndcg_at_10`, `recall_at_10` and `hit_rate_at_10`, means over users with the ranks of their wanted items.

    Raises:
        ValueError: There is no user, or one wants nothing.

    Example:
        >>> ranking_metrics([np.array([2, 30]), np.array([11])])
        {'ndcg_at_10': 0.19342640361727081, 'recall_at_10': 0.25, 'hit_rate_at_10': 0.5}
    """
    if not ranks or not all(map(len, ranks)):
        raise ValueError("no user, or one who likes nothing that is asked about: there is nothing to find")
    return {
        f"ndcg_at_{k}": float(np.mean([ndcg_at(found, k) for found in ranks])),
        f"recall_at_{k}": float(np.mean([recall_at(found, k) for found in ranks])),
        f"hit_rate_at_{k}": float(np.mean([(found <= k).any() for found in ranks])),
    }


def rating_metrics(predicted: np.ndarray, expected: np.ndarray, middle: float) -> dict[str, float]:
    """Return `r2`, `rmse` and `mae` of predicted ratings; `middle` is what who knows nothing but training says.

    Example:
        >>> rating_metrics(np.array([3.0, 5.0]), np.array([3.0, 4.0]), middle=3.0)
        {'r2': 0.0, 'rmse': 0.7071067811865476, 'mae': 0.5}
    """
    predicted, expected = predicted.astype(np.float64), expected.astype(np.float64)
    errors, usual = predicted - expected, ((expected - middle) ** 2).sum()
    return {
        "r2": float(1 - (errors**2).sum() / usual) if usual else 0.0,
        "rmse": float(np.sqrt((errors**2).mean())),
        "mae": float(np.abs(errors).mean()),
    }
