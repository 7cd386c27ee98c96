"""Corpus BLEU by NLTK, and its sufficient statistics.

BLEU is no mean over samples, so a resample needs the summed n-gram counts: `bleu_statistics` gives them
for each sample, and BLEU of any resample is then one matrix product and `bleu_from_statistics`.
NLTK counts one n-gram for a prediction too short to have any, so captions of under four tokens score a
little lower here than in the COCO caption evaluation; on longer ones the two agree.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stages.models.metrics import Predictions, References, Tokens, check_corpus

MAX_ORDER = 4
NUM_STATISTICS = 2 * MAX_ORDER + 2  # matches and totals of each order, prediction and reference length
_NO_MATCH_BELOW = 1e-70  # a precision of float_info.min leaves at most 1e-77 of BLEU-4

Smoothing = Callable[..., list[Any]]  # a method of nltk.translate.bleu_score.SmoothingFunction


def bleu(predictions: Predictions, references: References, smoothing: Smoothing | None = None) -> list[float]:
    """Score a corpus with BLEU-1 to BLEU-4, by NLTK, each a fraction.

    The brevity penalty takes the closest reference length. Without smoothing a BLEU with an n-gram order
    that matches nowhere is exactly 0. Source: Papineni et al. 2002.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        All 5 words match, 3 of 4 pairs, 1 of 3 triples and no run of four:

        >>> prediction, reference = "the dog a cat saw".split(), "a cat saw the dog".split()
        >>> [round(score, 4) for score in bleu([prediction], [[reference]])]
        [1.0, 0.866, 0.63, 0.0]
    """
    from nltk.translate.bleu_score import corpus_bleu  # here and below: NLTK takes a second to import

    check_corpus(predictions, references)
    weights = [(1 / order,) * order for order in range(1, MAX_ORDER + 1)]
    scores = corpus_bleu(references, predictions, weights, smoothing or _unsmoothed)
    return [float(score) if score > _NO_MATCH_BELOW else 0.0 for score in scores]


def _unsmoothed(precisions: list[Any], **_: Any) -> list[Any]:
    """Stand in for NLTK's method0, which warns at every order without a match."""
    return [precision if precision.numerator else sys.float_info.min for precision in precisions]


def bleu_statistics(predictions: Predictions, references: References) -> np.ndarray:
    """Count what BLEU needs of each sample, so that sums over samples give corpus BLEU.

    Returns:
        Shape (S, 10): matches of order 1 to 4, totals of order 1 to 4, the prediction's length and the
        closest reference length.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        >>> bleu_statistics(["the dog a cat saw".split()], [["a cat saw the dog".split()]]).astype(int)
        array([[5, 3, 1, 0, 5, 4, 3, 2, 5, 5]])
    """
    check_corpus(predictions, references)
    rows = [_statistics_of(*sample) for sample in zip(predictions, references, strict=True)]
    return np.array(rows, dtype=np.float64)


def _statistics_of(prediction: Tokens, references: Sequence[Tokens]) -> list[int]:
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    precisions = [modified_precision(references, prediction, order) for order in range(1, MAX_ORDER + 1)]
    return [
        *(precision.numerator for precision in precisions),
        *(precision.denominator for precision in precisions),
        len(prediction),
        closest_ref_length(references, len(prediction)),
    ]


def bleu_from_statistics(summed: np.ndarray, order: int = MAX_ORDER) -> np.ndarray:
    """Turn summed statistics (..., 10) into unsmoothed BLEU of that order, shape (...).

    Raises:
        ValueError: The order is not 1 to 4, or the last axis does not hold the ten statistics.

    Example:
        >>> statistics = bleu_statistics(["a cat sat".split()], [["a cat sat down".split()]])
        >>> bleu_from_statistics(statistics.sum(axis=0), order=2).round(4)  # exp(1 - 4 / 3)
        np.float64(0.7165)
    """
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"BLEU order {order}: allowed are 1 to {MAX_ORDER}")
    if np.shape(summed)[-1:] != (NUM_STATISTICS,):
        raise ValueError(f"BLEU statistics of shape {np.shape(summed)}: the last axis must be {NUM_STATISTICS}")
    matches, totals = summed[..., :order], summed[..., MAX_ORDER : MAX_ORDER + order]
    prediction_length, reference_length = summed[..., -2], summed[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):  # an order without a match is set to 0 below
        log_precision = np.log(matches / totals).mean(axis=-1)
        log_penalty = np.minimum(0.0, 1 - reference_length / prediction_length)
        scores = np.exp(log_precision + log_penalty)
    return np.where((matches > 0).all(axis=-1), scores, 0.0)[()]
