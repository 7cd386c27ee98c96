"""Distances between pictures: of two sets by features (Frechet), of one to its nearest, of several among themselves.

Shapes: N, M pictures, D features, H and W pixels, C channels.
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np


def frechet(one_ND: np.ndarray, other_MD: np.ndarray) -> float:
    """Return the squared Frechet distance of two sets of features, taken as normal (Heusel et al. 2017), in float64.

    Fewer pictures give larger distances: compare sets of the same sizes alone.

    Example:
        >>> line = np.array([[0.0], [2.0]])
        >>> round(frechet(line, line + 3), 6), round(frechet(line, 2 * line), 6)
        (9.0, 3.0)
    """
    from scipy.linalg import sqrtm  # takes a while

    means = [features.astype(np.float64).mean(0) for features in (one_ND, other_MD)]
    one, other = (np.atleast_2d(np.cov(features.astype(np.float64).T)) for features in (one_ND, other_MD))
    root = np.trace(np.real(sqrtm(one @ other)))
    return float(np.square(means[0] - means[1]).sum() + np.trace(one) + np.trace(other) - 2 * root)


def nearest(pictures_NHWC: np.ndarray, known: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the nearest known picture, and how far it is, for each uint8 picture.

    The distance is the root of the mean square over pixels and channels, of values in 0..1; `known` comes in parts.
    """
    x_NP = pictures_NHWC.reshape(len(pictures_NHWC), -1).astype(np.float64) / 255
    best_N, number_N, before = np.full(len(x_NP), np.inf), np.zeros(len(x_NP), np.int64), 0
    for part in known:
        y_MP = part.reshape(len(part), -1).astype(np.float64) / 255
        square_NM = np.square(x_NP).sum(1)[:, None] + np.square(y_MP).sum(1)[None] - 2 * x_NP @ y_MP.T
        found_N = square_NM.argmin(1)
        distance_N = square_NM[np.arange(len(x_NP)), found_N]
        nearer_N = distance_N < best_N
        best_N, number_N = np.where(nearer_N, distance_N, best_N), np.where(nearer_N, before + found_N, number_N)
        before += len(part)
    return number_N, np.sqrt(best_N.clip(0) / x_NP.shape[1])


def spread(pictures: Iterable[np.ndarray]) -> float:
    """Return the mean distance of each two uint8 pictures, as in `nearest`; 0 for fewer than two.

    Example:
        >>> black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
        >>> round(spread([black, white, white]), 4)
        0.6667
    """
    flat = [picture.astype(np.float64).ravel() / 255 for picture in pictures]
    pairs = [float(np.sqrt(np.square(one - other).mean())) for one, other in combinations(flat, 2)]
    return float(np.mean(pairs)) if pairs else 0.0
