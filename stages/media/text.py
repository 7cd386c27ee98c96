"""Words of any script: the tokenizer, which needs no download, how tokens are read again, and the vocabulary.

Words stand between spaces, with their vowel signs. Scripts that put no spaces (Chinese, Japanese, Thai, Khmer ...)
are cut into characters with what stands on them, so that no dictionary is needed. Emoji are tokens.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import regex

TOKENIZER = "words-2"  # recorded in manifests; a new number whenever `tokenize` changes
PAD, START, END, UNKNOWN = range(4)
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
UTF8 = "utf8"  # names features that are the bytes of a text, zeros behind them

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\u3006\u30FC"  # the last two are of several scripts
_UNSPACED = (
    rf"[{_CJK}\p{{Yi}}\p{{Tangut}}\p{{Nushu}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}\p{{Tibetan}}\p{{Tai_Le}}"
    r"\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}]"
)
_LETTER = rf"[\p{{L}}--{_UNSPACED}]"
_WORD = rf"{_LETTER}[{_LETTER}\p{{M}}]*(?:['\u05F4\u200C\u200D]{_LETTER}[{_LETTER}\p{{M}}]*)*"
_SIGN = r"[[\p{S}\p{Extended_Pictographic}]--\p{ASCII}--[©®⁄−\uFFFC\uFFFD]]"  # emoji among them
_MELTING = r"\p{Emoji_Modifier}|\p{RI}(?!\p{RI})"  # a colour of skin, half a flag: one sign with what is before them
_TIBETAN = r"[\p{Tibetan}&&[\p{L}\p{M}]]+\u0F0B?"  # a syllable with the point that ends it
_UNIT = rf"(?=[[{_UNSPACED}&&[\p{{L}}\p{{M}}\p{{So}}]]\u104C-\u104F\p{{Nl}}\p{{No}}])\X"
_TOKEN = regex.compile(rf"{_WORD}|[0-9#*]\u20E3|(?={_SIGN})\X|\p{{Nd}}+(?!\u20E3)|{_TIBETAN}|{_UNIT}", regex.V1)
_PLAIN_TOKEN = regex.compile(r"[a-z]+(?:'[a-z]+)*|[0-9]+")  # the same of ASCII, four times as fast
_UNSEEN = regex.compile(  # soft hyphen, direction, variants, tatweel; joiners in Latin; the dot of a small Turkish İ
    r"[\u00AD\u034F\u061C\u0640\u180B-\u180F\u200E\u200F\u202A-\u202E\u2060\u2066-\u2069\uFE00-\uFE0F\uFEFF"
    r"\U000E0100-\U000E01EF]|(?<=\p{Latin})[\u200C\u200D](?=\p{Latin})|(?<=i)\u0307",
    regex.V1,
)
_SAME = (  # written in two ways: Thai and Lao AM, sigma at the end, quotation mark as Hebrew gershayim, apostrophe
    (regex.compile("\u0e4d\u0e32"), "\u0e33"),
    (regex.compile("\u0ecd\u0eb2"), "\u0eb3"),
    (regex.compile(r"(?<=\p{Greek}\p{M}*)σ(?![\p{L}\p{M}])"), "ς"),
    (regex.compile(r'(?<=\p{Hebrew})["\u201D](?=\p{Hebrew})'), "\u05f4"),
    (regex.compile(r"\u2019|(?<=\p{Hebrew})\u05F3"), "'"),
)
_DIGIT = regex.compile("[0-9]")
_FOREIGN = regex.compile(r"[\p{L}--[\p{Latin}\p{Common}\u03BC\u03C0\u03C9]]", regex.V1)  # micro, pi and ohm are not
_TIGHT = rf"[{_UNSPACED}{_SIGN}\p{{Emoji_Modifier}}\u20E3\U000E0020-\U000E007F]"
_FALSE_SPACE = regex.compile(
    rf"(?<={_TIGHT}\p{{M}}*) (?!{_MELTING})(?=[{_UNSPACED}{_SIGN}])"
    rf"|(?<=[{_CJK}]) (?=\p{{Nd}})|(?<=\p{{Nd}}) (?=[{_CJK}])",
    regex.V1,
)
_NUMBERS = dict(
    enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
)


def tokenize(text: str) -> list[str]:
    r"""Split a text into lower-case words; punctuation goes, small numbers among Latin letters become words.

    >>> tokenize(' 2 "tri-colored" dogs can\u2019t run .')
    ['two', 'tri', 'colored', 'dogs', "can't", 'run']
    >>> tokenize("我看到3只猫😀!")
    ['我', '看', '到', '3', '只', '猫', '😀']
    """
    return list(_tokens(text))


@lru_cache(maxsize=1024)  # a text is checked, counted and shown one after the other, and questions come again
def _tokens(text: str) -> tuple[str, ...]:
    folded = fold(text)
    tokens = cut(folded)
    if (_DIGIT.search(folded) or not folded.isascii()) and not is_foreign(folded):
        tokens = [number_word(token) for token in tokens]
    return tuple(tokens)


def join(tokens: Iterable[str]) -> str:
    """Return tokens as a person reads them: spaces between words, none in scripts that put none.

    >>> join(["two", "dogs"]), join(["我", "看", "到", "3", "只", "猫", "😀"])
    ('two dogs', '我看到3只猫😀')
    """
    text = " ".join(tokens)
    return text if text.isascii() else _FALSE_SPACE.sub("", text)


def fold(text: str) -> str:
    """Return a text in one case and one Unicode form, without what nobody sees."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _UNSEEN.sub("", folded)
    for pattern, replacement in _SAME:
        folded = pattern.sub(replacement, folded)
    return folded


def cut(folded: str) -> list[str]:
    """Return the tokens of a folded text, numbers in digits."""
    return (_PLAIN_TOKEN if folded.isascii() else _TOKEN).findall(folded)


def is_foreign(folded: str) -> bool:
    """Tell whether a folded text has a letter that is not Latin."""
    return not folded.isascii() and _FOREIGN.search(folded) is not None


def number_word(token: str) -> str:
    """Return the English word of a small number, any other token as it is."""
    if token.isdecimal() and len(token) <= 2:
        return _NUMBERS.get(int(token), token)
    return token


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
