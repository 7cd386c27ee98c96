"""ROUGE-L as in the COCO caption evaluation (beta 1.2, best precision and best recall over references)."""

from collections.abc import Sequence

import numpy as np

from stages.models.metrics import Predictions, References, Tokens, check_corpus

BETA = 1.2


def rouge_l(predictions: Predictions, references: References) -> float:
    """Average ROUGE-L over the samples, a fraction.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        Three of four words in order, so precision, recall and F are all 3 / 4:

        >>> round(rouge_l(["a dog runs fast".split()], [["a dog runs away".split()]]), 4)
        0.75
    """
    return float(rouge_l_scores(predictions, references).mean())


def rouge_l_scores(predictions: Predictions, references: References) -> np.ndarray:
    """Score each sample with ROUGE-L, shape (S,). Source: Lin 2004, section 3; Chen et al. 2015.

    Precision is the longest common subsequence over the prediction's length, recall the same over the
    reference's length. The two maxima may come from different references. An empty prediction scores 0.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        >>> rouge_l_scores([["a", "dog"], ["cats"]], [[["a", "dog"]], [["dogs"]]])
        array([1., 0.])
    """
    check_corpus(predictions, references)
    return np.array([_sample_score(*sample) for sample in zip(predictions, references, strict=True)])


def _sample_score(prediction: Tokens, references: Sequence[Tokens]) -> float:
    common = [lcs_length(prediction, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(prediction)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True) if reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def lcs_length(first: Tokens, second: Tokens) -> int:
    """Count the tokens of the longest common subsequence.

    One big integer holds a row of the usual table, a bit for each token of `first`; a zero bit is where
    the row steps up. Source: Hyyro 2004, "Bit-parallel LCS-length computation revisited".

    Example:
        >>> lcs_length("a dog runs on sand".split(), "a brown dog on sand".split())
        4
    """
    places: dict[str, int] = {}
    for index, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << index
    full = (1 << len(first)) - 1
    row = full
    for token in second:
        hits = row & places.get(token, 0)
        row = (row + hits | row - hits) & full
    return len(first) - row.bit_count()
