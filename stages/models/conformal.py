"""Split-conformal intervals: as wide as the errors on samples that the weights were not fitted to.

Source: Lei et al. 2018, "Distribution-free predictive inference for regression", section 2.2. Where the samples to come
are like those (exchangeable with them), the interval holds in at least the asked share of cases, averaged over all
of them: not for each sample, nor for each kind of sample.
"""

import math

import numpy as np


def half_width(errors: np.ndarray, coverage: float) -> float:
    """Return half the width of an interval, of the absolute errors (S,); with too few of them, the largest error.

    Example:
        Of nine errors the ninth of ten places, for nine tenths.

        >>> half_width(np.arange(1.0, 10.0), 0.9), half_width(np.arange(1.0, 10.0), 0.5)
        (9.0, 5.0)
    """
    place = math.ceil(round((len(errors) + 1) * coverage, 9))
    return float(np.sort(errors)[min(place, len(errors)) - 1])


def least_samples(coverage: float) -> int:
    """Return how many samples an interval of this coverage needs.

    >>> least_samples(0.9), least_samples(0.5)
    (9, 1)
    """
    return math.ceil(round(coverage / (1 - coverage), 9))
