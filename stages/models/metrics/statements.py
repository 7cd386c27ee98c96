"""The statements of a caption, read by its data set's lexicon: which objects it names, and what it says of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from stages.base.lexicon import ONE, OTHER, RELATION, Lexicon, Phrases
from stages.media.text import tokenize

OBJECT, ARTICLE = "object", "article"
RELATED = RELATION.strip("{}")
SAID = ""  # beside the slots of a pattern: the phrase that it is for
Looks = frozenset[tuple[str, str]]  # (attribute, value)
Range = tuple[int, int]  # of words: the first, and the one behind the last


@dataclass(frozen=True)
class Mention:
    """An object as a caption names it."""

    looks: Looks
    words: Range


@dataclass(frozen=True)
class Claim:
    """What a caption says beside naming objects: of mentions by their number, or of the whole."""

    kind: str
    value: str
    words: Range
    one: int | None = None
    other: int | None = None


@dataclass(frozen=True)
class Reading:
    """What a caption says."""

    mentions: list[Mention]
    claims: list[Claim]
    unread: int  # words that are part of no statement, nor glue between them


Item = tuple[str, Any, Range]  # kind, value, words; the kind of a word that is in no phrase is the word


class Reader:
    """Reads captions by a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        """Turn the lexicon into tables.

        Raises:
            ValueError: a phrase says two things.
        """
        self.lexicon = lexicon
        self._phrases: dict[tuple[str, ...], tuple[str, str]] = {}
        for kind, phrases in self._kinds():
            for value, phrase in ((value, phrase) for value, said in phrases.items() for phrase in said):
                known = self._phrases.setdefault(tuple(tokenize(phrase)), (kind, value))
                if known != (kind, value):
                    both = f"{' '.join(known)} and {kind} {value}"
                    raise ValueError(f"lexicon: the phrase {phrase!r} is of both {both}; it can say one of them")
        self._longest = max(map(len, self._phrases))
        self._patterns = sorted(map(_cut, lexicon.patterns), key=len, reverse=True)
        self._silent = {OBJECT, ARTICLE, *(token for words in lexicon.glue for token in tokenize(words))}

    def _kinds(self) -> Iterator[tuple[str, Phrases]]:
        yield ARTICLE, {"": self.lexicon.articles}
        yield from (*self.lexicon.looks.items(), *self.lexicon.beside.items(), *self.lexicon.scene.items())
        yield RELATED, self.lexicon.relations

    def read(self, words: Sequence[str]) -> Reading:
        """Return the statements of a caption, given as tokens."""
        items, mentions = self._named(list(self._items(words)))
        claims = [Claim(kind, value, words) for kind, value, words in items if kind in self.lexicon.scene]
        claims += self._said_of_objects(items)
        read = {claim.words for claim in claims}
        lost = (
            stop - start for kind, _, (start, stop) in items if kind not in self._silent and (start, stop) not in read
        )
        return Reading(mentions, sorted(claims, key=lambda claim: claim.words), sum(lost))

    def _items(self, words: Sequence[str]) -> Iterator[Item]:
        """Yield phrases, the longest that fits first, and words that are in none."""
        at = 0
        while at < len(words):
            for stop in range(min(at + self._longest, len(words)), at, -1):
                if found := self._phrases.get(tuple(words[at:stop])):
                    yield *found, (at, stop)
                    break
            else:
                stop = at + 1
                yield words[at], None, (at, stop)
            at = stop

    def _named(self, items: list[Item]) -> tuple[list[Item], list[Mention]]:
        """Join looks that stand together, one of them the noun, to mentions; the value of one is its number.

        Where nouns follow each other, each ends a mention.
        """
        joined: list[Item] = []
        mentions: list[Mention] = []
        at = 0
        while at < len(items):
            first = at + (items[at][0] == ARTICLE)
            run = list(takewhile(lambda item: item[0] in self.lexicon.looks, items[first:]))
            nouns = [i for i, (kind, _, _) in enumerate(run) if kind == self.lexicon.noun]
            if not nouns:
                joined.append(items[at])
                at += 1
                continue
            looks = run[: nouns[0] + 1] if len(nouns) > 1 else run
            words = items[at][2][0], looks[-1][2][1]
            joined.append((OBJECT, len(mentions), words))
            mentions.append(Mention(frozenset((kind, value) for kind, value, _ in looks), words))
            at = first + len(looks)
        return joined, mentions

    def _said_of_objects(self, items: list[Item]) -> list[Claim]:
        """Return what the patterns find; a phrase is part of one claim."""
        claims: list[Claim] = []
        about = None  # whom the last relation was about
        for at in range(len(items)):
            for pattern in self._patterns:
                slots = _match(pattern, items[at : at + len(pattern)])
                one = slots.get(ONE, about)
                if not slots or one is None or slots[SAID][2] in [claim.words for claim in claims]:
                    continue
                kind, value, words = slots[SAID]
                claims.append(Claim(kind, value, words, one, slots.get(OTHER)))
                about = one if kind == RELATED else about
                break
        return claims


def _cut(pattern: str) -> list[str]:
    """Return the slots of a pattern, and the tokens between them."""
    parts = re.split(r"({\w+})", pattern)
    return [token for i, part in enumerate(parts) for token in ([part] if i % 2 else tokenize(part))]


def _match(pattern: list[str], items: list[Item]) -> dict[str, Any]:
    """Return what stands in the slots: numbers of mentions and, as `SAID`, the phrase; nothing where one is wrong."""
    slots: dict[str, Any] = {}
    if len(items) < len(pattern):
        return slots
    for part, item in zip(pattern, items, strict=True):
        if part in (ONE, OTHER) and item[0] == OBJECT:
            slots[part] = item[1]
        elif part == f"{{{item[0]}}}":
            slots[SAID] = item
        elif part != item[0]:
            return {}
    return slots
