"""Reads the words that were said, and when, from the units of each moment."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from stages.media.text import join
from stages.models.heads.ctc.alignment import align
from stages.models.heads.ctc.ngrams import END, NGrams
from stages.models.heads.ctc.search import Prefix, greedy, prefix_search

SPACE = " "


class Reader:
    """Knows the units, and what is likely to be said."""

    def __init__(self, units: Sequence[str], by_letter: bool, likely: NGrams | None) -> None:
        """Take the units by their number: words, or letters and the space between words."""
        self._units, self._by_letter, self._likely = units, by_letter, likely

    def read(self, log_probs_TV: np.ndarray, moment_s: float, evaluate: Any) -> dict[str, Any]:
        """Return the words with their seconds; a word is as sure as the least sure of its units."""
        text = greedy(log_probs_TV) if evaluate.beam_size == 1 else self._searched(log_probs_TV, evaluate)
        spans = align(log_probs_TV, text)
        sure = [
            float(np.exp(log_probs_TV[first:behind, unit].mean()))
            for unit, (first, behind) in zip(text, spans, strict=True)
        ]
        words = list(self._words(text))
        return {
            "transcript": join(word for word, _ in words),
            "spoken": [word for word, _ in words],
            "starts_s": [round(spans[places[0]][0] * moment_s, 3) for _, places in words],
            "ends_s": [round(spans[places[-1]][1] * moment_s, 3) for _, places in words],
            "probabilities": [min(sure[place] for place in places) for _, places in words],
        }

    def _words(self, text: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """Yield the words of a text, and which of its units are a word's."""
        units = [self._units[unit] for unit in text]
        if not self._by_letter:
            yield from ((word, [place]) for place, word in enumerate(units))
            return
        for is_space, letters in groupby(enumerate(units), key=lambda unit: unit[1] == SPACE):
            if not is_space:
                places, word = zip(*letters, strict=True)
                yield "".join(word), list(places)

    def _searched(self, log_probs_TV: np.ndarray, evaluate: Any) -> list[int]:
        """Return the text that is likeliest by what was heard and, where words were counted, by what is said."""
        likely, weight = self._likely, evaluate.ngram_weight
        if likely is None:
            return prefix_search(log_probs_TV, evaluate.beam_size, lambda _: 0.0, lambda _: 0.0)

        @cache
        def reads(words: tuple[str, ...]) -> float:
            if not words:
                return 0.0
            return reads(words[:-1]) + weight * likely.log_prob(words[-1], words[:-1]) + evaluate.word_bonus

        @cache
        def judge(prefix: Prefix) -> float:
            words = self._complete(prefix)
            ended = not self._by_letter or not prefix or self._units[prefix[-1]] == SPACE
            return reads(words if ended else words[:-1])

        def finish(prefix: Prefix) -> float:
            words = self._complete(prefix)
            return reads(words) + weight * likely.log_prob(END, words)

        return prefix_search(log_probs_TV, evaluate.beam_size, judge, finish)

    def _complete(self, prefix: Prefix) -> tuple[str, ...]:
        return tuple(word for word, _ in self._words(prefix))
