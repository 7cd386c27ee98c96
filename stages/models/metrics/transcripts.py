"""Errors of transcripts: words and letters that are wrong, missing or too many, counted by jiwer (Levenshtein 1966)."""

from collections import defaultdict
from collections.abc import Sequence

import jiwer
import numpy as np


def transcript_metrics(said: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Score transcripts whose tokens are joined by a space.

    Returns:
        `wer` and `cer`, errors over the words and the letters that were spoken (above 1 where more is written than
        was said), `word_accuracy` = 1 - `wer`, the shares of words that are wrong, missing and added, and
        `sentence_accuracy`, of transcripts without an error.

    Example:
        >>> scores = transcript_metrics(["one two", "three"], ["one two", "four five"])
        >>> scores["wer"], scores["word_accuracy"], scores["sentence_accuracy"], scores["words_missing"]
        (0.5, 0.5, 0.5, 0.25)
    """
    words = jiwer.process_words(list(expected), list(said))
    letters = jiwer.process_characters(list(expected), list(said))
    spoken = words.hits + words.substitutions + words.deletions
    return {
        "word_accuracy": 1 - words.wer,
        "wer": words.wer,
        "cer": letters.cer,
        "sentence_accuracy": float(np.mean([a == b for a, b in zip(said, expected, strict=True)])),
        "words_wrong": words.substitutions / spoken,
        "words_missing": words.deletions / spoken,
        "words_added": words.insertions / spoken,
    }


def count_errors(said: Sequence[str], expected: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return for each transcript how many words are wrong, missing or too many, and how many were spoken."""
    found = [jiwer.process_words(right, written) for written, right in zip(said, expected, strict=True)]
    errors = [one.substitutions + one.deletions + one.insertions for one in found]
    return errors, [one.hits + one.substitutions + one.deletions for one in found]


def wer_by(said: Sequence[str], expected: Sequence[str], groups: Sequence[str]) -> dict[str, float]:
    """Return the word error rate of each group's transcripts."""
    errors, words = map(np.array, count_errors(said, expected))
    own = {group: np.array([other == group for other in groups]) for group in sorted(set(groups))}
    return {group: float(errors[chosen].sum() / words[chosen].sum()) for group, chosen in own.items()}


def compare(said: str, expected: str) -> list[tuple[str, str]]:
    """Return both transcripts side by side, as pairs of what was written and what was spoken; empty for nothing.

    Example:
        >>> compare("set blue now", "set blue at now")
        [('set', 'set'), ('blue', 'blue'), ('', 'at'), ('now', 'now')]
    """
    written, right = said.split(), expected.split()
    pairs: list[tuple[str, str]] = []
    for part in jiwer.process_words(expected, said).alignments[0]:
        ours = written[part.hyp_start_idx : part.hyp_end_idx]
        theirs = right[part.ref_start_idx : part.ref_end_idx]
        longest = max(len(ours), len(theirs))
        pairs += zip(ours + [""] * (longest - len(ours)), theirs + [""] * (longest - len(theirs)), strict=True)
    return pairs


def accuracy_by_slot(said: Sequence[str], expected: Sequence[str], slots: Sequence[dict[str, str]]) -> dict[str, float]:
    """Return which share of the words of each slot of a fixed grammar is right; `slots` are a sample's, by name."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for written, right, own in zip(said, expected, slots, strict=True):
        heard = [ours == theirs for ours, theirs in compare(written, right) if theirs]
        left = list(enumerate(right.split()))
        for name, word in sorted(own.items()):
            place = next(((i, found) for i, found in left if found == word), None)
            if place:
                left.remove(place)
                hits[name].append(heard[place[0]])
    return {name: float(np.mean(found)) for name, found in sorted(hits.items())}
