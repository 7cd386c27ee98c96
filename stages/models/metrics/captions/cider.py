"""CIDEr-D: agreement of tf-idf weighted n-grams, on the usual scale of 0 to 10, not a fraction.

Source: Vedantam et al. 2015, section "CIDEr-D". An n-gram's document frequency is the number of evaluated
samples with it in a reference, so a score belongs to its test set: do not compare it across sets.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from stages.models.metrics import Predictions, References, Tokens, check_corpus

MAX_ORDER = 4
SIGMA = 6.0  # of the penalty for a difference in length, in tokens
SCALE = 10.0

Gram = tuple[str, ...]


@dataclass(frozen=True)
class _Vector:
    """The tf-idf weights of a text by n-gram order, their norms and the text's length in tokens."""

    weights: list[dict[Gram, float]]
    norms: list[float]
    length: int


def cider_d(predictions: Predictions, references: References) -> float:
    """Average CIDEr-D over the samples, on the scale of 0 to 10.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        >>> captions = ["a dog runs fast".split(), "two cats sleep here".split()]
        >>> round(cider_d(captions, [[caption] for caption in captions]), 4)
        10.0
    """
    return float(cider_d_scores(predictions, references).mean())


def cider_d_scores(predictions: Predictions, references: References) -> np.ndarray:
    """Score each sample with CIDEr-D, shape (S,), on the scale of 0 to 10.

    A single sample scores 0: with one document every n-gram is in all documents and weighs nothing.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        The second sample shares "two cats": 2 of 4 words, 1 of 3 pairs, 10 * (1/2 + 1/3 + 0 + 0) / 4:

        >>> predictions = ["a dog runs fast".split(), "two cats eat fish".split()]
        >>> references = [["a dog runs fast".split()], ["two cats sleep here".split()]]
        >>> cider_d_scores(predictions, references).round(4)
        array([10.    ,  2.0833])
    """
    check_corpus(predictions, references)
    frequencies = _document_frequencies(references)
    log_documents = math.log(len(references))
    scores = []
    for prediction, sample_references in zip(predictions, references, strict=True):
        vector = _vector(prediction, frequencies, log_documents)
        others = [_vector(reference, frequencies, log_documents) for reference in sample_references]
        scores.append(SCALE * sum(_similarity(vector, other) for other in others) / len(others))
    return np.array(scores)


def _grams(tokens: Tokens) -> Counter[Gram]:
    """Count the n-grams of order 1 to 4."""
    starts = range(len(tokens))
    return Counter(tuple(tokens[i : i + n]) for n in range(1, MAX_ORDER + 1) for i in starts[: 1 - n or None])


def _document_frequencies(references: References) -> Counter[Gram]:
    """Count for every n-gram the samples with it in at least one reference."""
    frequencies: Counter[Gram] = Counter()
    for sample_references in references:
        frequencies.update(set().union(*(_grams(reference) for reference in sample_references)))
    return frequencies


def _vector(tokens: Tokens, frequencies: Counter[Gram], log_documents: float) -> _Vector:
    weights: list[dict[Gram, float]] = [{} for _ in range(MAX_ORDER)]
    for gram, count in _grams(tokens).items():
        weights[len(gram) - 1][gram] = count * (log_documents - math.log(max(1, frequencies[gram])))
    norms = [math.sqrt(sum(weight**2 for weight in of_order.values())) for of_order in weights]
    return _Vector(weights, norms, len(tokens))


def _similarity(prediction: _Vector, reference: _Vector) -> float:
    """Average the clipped cosines over the orders, times the Gaussian penalty of the length difference."""
    total = 0.0
    for order in range(MAX_ORDER):
        others = reference.weights[order]
        dot = sum(
            min(weight, others[gram]) * others[gram]
            for gram, weight in prediction.weights[order].items()
            if gram in others
        )
        if dot:
            total += dot / (prediction.norms[order] * reference.norms[order])
    penalty = math.exp(-((prediction.length - reference.length) ** 2) / (2 * SIGMA**2))
    return total / MAX_ORDER * penalty
