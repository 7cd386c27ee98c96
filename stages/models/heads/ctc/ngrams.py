"""An n-gram model of words, counted from texts: what is likely to be said, whatever was heard."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from nltk.lm import NgramCounter, WittenBellInterpolated
from nltk.util import ngrams

BEGIN, END = "<s>", "</s>"  # no word is like them: tokenizers give no angle brackets
RARE = 3  # of n-grams from this order up, those seen once are left out, as is usual


def count_ngrams(texts: Iterable[Sequence[str]], order: int) -> list[str]:
    """Return the n-grams of tokenised texts, of all orders up to one, each as its count and its words, sorted.

    Example:
        >>> count_ngrams([["one", "two"]], 2)
        ['1 </s>', '1 <s> one', '1 one', '1 one two', '1 two', '1 two </s>']
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        padded = [BEGIN, *text, END]
        for size in range(1, order + 1):
            counts.update(ngram for ngram in ngrams(padded, size) if ngram != (BEGIN,))
    kept = {ngram: count for ngram, count in counts.items() if len(ngram) < RARE or count > 1}
    return sorted(f"{count} {' '.join(ngram)}" for ngram, count in kept.items())


class NGrams:
    """Scores a word by those before it, with the smoothing of Witten and Bell (1991)."""

    def __init__(self, counted: Iterable[str], order: int) -> None:
        """Take what `count_ngrams` gave."""
        counter = NgramCounter()
        for line in counted:
            count, *words = line.split(" ")
            if count.isdecimal():
                known = counter.unigrams if len(words) == 1 else counter[len(words)][tuple(words[:-1])]
                known[words[-1]] += int(count)
        self._model = WittenBellInterpolated(order, counter=counter)
        self._never = -math.log(counter.unigrams.N() + 1)  # of a word that no text had
        self._before = order - 1
        self.log_prob = cache(self._log_prob)

    def _log_prob(self, word: str, before: tuple[str, ...]) -> float:
        """Return the log probability of a word behind others, all of the text so far; END ends a text."""
        context = (BEGIN, *before)[-self._before :] if self._before else ()
        probability = self._model.unmasked_score(word, context)
        return math.log(probability) if probability else self._never
