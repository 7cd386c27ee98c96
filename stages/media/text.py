"""Words: the tokenizer, which needs no download, and the vocabulary of the training split."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

TOKENIZER = "words-1"  # recorded in manifests; a new number whenever `tokenize` changes
PAD, START, END, UNKNOWN = range(4)
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+")
_NUMBERS = dict(
    enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
)


def tokenize(text: str) -> list[str]:
    r"""Split a text into lower-case words; punctuation goes, small numbers become words.

    >>> tokenize(' 2 "tri-colored" dogs can\u2019t run .')
    ['two', 'tri', 'colored', 'dogs', "can't", 'run']
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return [_number_word(word) for word in _WORD.findall(folded)]


def _number_word(word: str) -> str:
    if word.isdecimal() and len(word) <= 2:
        return _NUMBERS.get(int(word), word)
    return word


def build_vocabulary(counts: Counter[str], min_count: int) -> list[str]:
    """Return the special tokens, then words seen at least `min_count` times, commonest first."""
    kept = [word for word, count in counts.items() if count >= min_count and word not in SPECIALS]
    return [*SPECIALS, *sorted(kept, key=lambda word: (-counts[word], word))]


class Vocabulary:
    """Words and their numbers."""

    def __init__(self, words: Sequence[str]) -> None:
        """Take the words in order, special tokens first."""
        self.words = list(words)
        self._index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        """Return the number of words, special tokens counted."""
        return len(self.words)

    def encode(self, tokens: Iterable[str], max_words: int) -> list[int]:
        """Return start, at most `max_words` word numbers, end; a text cut short has no end."""
        ids = [self._index.get(token, UNKNOWN) for token in tokens]
        if len(ids) > max_words:
            return [START, *ids[:max_words]]
        return [START, *ids, END]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words up to the first end."""
        words = []
        for i in ids:
            if i == END:
                break
            if i not in (PAD, START):
                words.append(self.words[i])
        return words
