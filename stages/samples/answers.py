"""Answers as classes: what is the same to a person is one, what is not stays apart.

Case, space, Unicode form and the punctuation of sentences say nothing; signs do: `+1` is not `-1`, `C++` not `C#`.
"""

from collections import Counter
from functools import lru_cache

import regex

from stages.media.text import cut, fold, is_foreign, join, number_word

SHOWN_CLASSES, SHOWN_SPELLINGS = 3, 4

_DASH = regex.compile(r"[\u2010-\u2015\u2212]")
_BLANK = regex.compile(r"[\s\u200B\p{Cc}]+")
_SIGN = r"#%&*@/\\_\-"  # punctuation, to Unicode, that says something
_KEPT = (  # in a word, between digits, before a fraction, at the end of a Tibetan syllable
    r"(?<=[\p{L}\p{M}])['\u05F4](?=\p{L})|(?<=\p{Nd})\p{P}(?=\p{Nd})|(?<![\p{L}\p{N}.])\.(?=\p{Nd})|\u0F0B|[\u104C-\u104F]"
)
_SYMBOL = regex.compile(r"\p{S}")
_LETTER = r"\p{L}\p{M}*"
_LINK = (  # signs that are punctuation here: in a word, between words, at the head of a line, at a word (`A-` is none)
    rf"(?<={_LETTER})[\-_/&]+(?=[\p{{L}}\p{{N}}])|(?<=\p{{N}})[\-_/]+(?=\p{{L}})|(?<={_LETTER}\s+)[\-_/&*]+(?=\s|$)"
    rf"|^[\-*]+\s+(?=\p{{L}})|(?<=(?:{_LETTER}'?){{3}})[\-_/&*]+|[\-_/&*]+(?=(?:{_LETTER}){{3}})"
)
_DROPPED = regex.compile(rf"(?!{_KEPT})(?:[\p{{P}}--[{_SIGN}]]|{_LINK})", regex.V1)


@lru_cache(maxsize=1 << 14)
def normalise_answer(text: str) -> str:
    """Return the class of an answer: words as the tokenizer gives them, signs where they stand.

    An answer of signs alone is itself; one in which nobody sees anything is empty.

    >>> [normalise_answer(text) for text in ("Yes.", "2", "+1", "-1", "0.5", "0 5", "C++", "?", "tri-colored")]
    ['yes', 'two', '+1', '-1', '0.5', 'zero five', 'c++', '?', 'tri colored']
    """
    folded = _BLANK.sub(" ", _DASH.sub("-", fold(text)).replace("\u2044", "/")).strip()  # the last: of ½
    tokens: list[str] = []
    for chunk in _DROPPED.sub(" ", folded).split():
        found = cut(chunk)
        if "".join(found) != chunk or _SYMBOL.search(chunk):
            tokens.append(chunk)
        else:
            tokens += found if is_foreign(folded) else map(number_word, found)
    return join(tokens) if tokens else folded


def merged(spellings: Counter[tuple[str, str]]) -> str:
    """Say which answers, counted by (class, as written), became one class; empty where none did."""
    classes: dict[str, list[str]] = {}
    for (name, written), count in sorted(spellings.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        classes.setdefault(name, []).append(f"{written!r} {count}")
    several = {name: found for name, found in classes.items() if len(found) > 1}
    if not several:
        return ""
    first = sorted(several, key=lambda name: (-len(several[name]), name))[:SHOWN_CLASSES]
    told = [f"{name} is {', '.join(several[name][:SHOWN_SPELLINGS])}" for name in first]
    told += ["..."] if len(several) > SHOWN_CLASSES else []
    return f"{sum(map(len, several.values()))} spellings became {len(several)} classes: {'; '.join(told)}"
