"""METEOR by NLTK, where its WordNet data is installed; nothing is ever downloaded.

Install the data with `python -m nltk.downloader wordnet`. NLTK's METEOR (Lavie and Agarwal 2007) is not the
Java METEOR 1.5 of the COCO caption evaluation, so the numbers of the two do not compare.
"""

from stages.models.metrics import Predictions, References, check_corpus


def meteor_available() -> bool:
    """Say whether NLTK finds WordNet on this machine.

    Example:
        >>> meteor_available() in (True, False)
        True
    """
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return False
    return True


def meteor(predictions: Predictions, references: References) -> float | None:
    """Average METEOR (best reference of each sample), a fraction, or None without WordNet.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        Four words in one chunk, so (1 - 0.5 * (1 / 4) ** 3) of the full score:

        >>> score = meteor(["a dog runs fast".split()], [["a dog runs fast".split()]])
        >>> score is None or round(score, 4) == 0.9922
        True
    """
    check_corpus(predictions, references)
    if not meteor_available():
        return None
    from nltk.translate.meteor_score import meteor_score

    scores = [meteor_score(*sample) for sample in zip(references, predictions, strict=True)]
    return sum(scores) / len(scores)
