"""Truth of captions: which of the statements that a caption makes hold for a sample whose truth is known.

Kinds of statement: `object` (`a large red circle` is one), what is said beside it (its `place`), `relation`, and what
is said of the whole (`background`). Each look of an object (`colour`, `shape`, `size`) is counted as a kind too, but
within its object: the shares over all kinds leave looks out.

- Each mention of an object stands for an object of its own, chosen so that most mentions are right in all looks,
  then most looks are; of equal mentions the first is right. An object is true where all its looks are.
- A place or relation is checked where its mentions are true and fit one object alone, so a wrong object counts once;
  and where the truth says anything of it. The rest are counted as unchecked.

Shapes: M mentions of a caption, T objects (things) of a sample.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.base.lexicon import Lexicon
from stages.models.metrics.statements import OBJECT, RELATED, Claim, Looks, Mention, Range, Reader, Reading

Truth = dict[str, Any]  # of a sample, see `base.lexicon`


@dataclass(frozen=True)
class Verdict:
    """Whether one statement holds; None where it cannot be checked."""

    kind: str
    words: Range
    holds: bool | None


@dataclass(frozen=True)
class Judgement:
    """One caption held against the truth of one sample."""

    statements: list[Verdict]  # of objects, beside them, of relations and of the whole
    looks: Counter[tuple[str, bool]]  # how many looks of each kind are right and wrong
    named: int  # objects that the caption names rightly
    objects: int
    unread: int
    num_words: int

    @property
    def num_checked(self) -> int:
        """Return how many statements can be checked."""
        return sum(verdict.holds is not None for verdict in self.statements)

    @property
    def num_unchecked(self) -> int:
        """Return how many statements cannot be checked."""
        return len(self.statements) - self.num_checked

    @property
    def num_true(self) -> int:
        """Return how many statements hold."""
        return sum(verdict.holds is True for verdict in self.statements)

    @property
    def has_false(self) -> bool:
        """Tell whether a statement does not hold."""
        return any(verdict.holds is False for verdict in self.statements)


class Judge:
    """Holds readings against the truth of a sample."""

    def __init__(self, lexicon: Lexicon, truth: Truth) -> None:
        """Take the truth."""
        self.lexicon, self.truth = lexicon, truth
        self.things: list[dict[str, Any]] = truth.get("objects", [])

    def judge(self, reading: Reading, num_words: int) -> Judgement:
        """Return what of a caption holds."""
        mine = self._own_things(reading.mentions)
        right_looks = [self._right_looks(m, t) for m, t in zip(reading.mentions, mine, strict=True)]
        right = [looks == m.looks for m, looks in zip(reading.mentions, right_looks, strict=True)]
        known = [
            t if ok and len(self.fit(m.looks)) == 1 else None
            for m, t, ok in zip(reading.mentions, mine, right, strict=True)
        ]
        objects = [Verdict(OBJECT, m.words, ok) for m, ok in zip(reading.mentions, right, strict=True)]
        claims = [Verdict(claim.kind, claim.words, self._holds(claim, known)) for claim in reading.claims]
        looks = Counter(
            (kind, (kind, value) in ok)
            for m, ok in zip(reading.mentions, right_looks, strict=True)
            for kind, value in m.looks
        )
        naming = set(self.lexicon.naming)
        named = sum(naming <= {kind for kind, _ in ok} for ok in right_looks)
        return Judgement([*objects, *claims], looks, named, len(self.things), reading.unread, num_words)

    def _right_looks(self, mention: Mention, thing: int | None) -> Looks:
        if thing is None:
            return frozenset()
        return frozenset((kind, value) for kind, value in mention.looks if self.things[thing].get(kind) == value)

    def fit(self, looks: Looks) -> list[int]:
        """Return the numbers of the objects that have all these looks."""
        return [i for i, thing in enumerate(self.things) if all(thing.get(kind) == value for kind, value in looks)]

    def _own_things(self, mentions: list[Mention]) -> list[int | None]:
        """Return the thing that each mention stands for, see the module."""
        from scipy.optimize import linear_sum_assignment  # takes a while

        if not mentions or not self.things:
            return [None] * len(mentions)
        agreed_MT = np.array([[len(self._right_looks(m, t)) for t in range(len(self.things))] for m in mentions])
        whole_M1 = np.array([[len(m.looks)] for m in mentions])
        earlier_M1 = 0.5 ** np.arange(1, len(mentions) + 1)[:, None]
        gain_MT = agreed_MT + (agreed_MT == whole_M1) * (whole_M1.sum() + 1 + earlier_M1)
        found = dict(zip(*(places.tolist() for places in linear_sum_assignment(gain_MT, maximize=True)), strict=True))
        return [found.get(m) for m in range(len(mentions))]

    def _holds(self, claim: Claim, known: list[int | None]) -> bool | None:
        """Tell whether a claim holds; None where it cannot be checked."""
        if claim.one is None:
            return _equal(self.truth.get(claim.kind), claim.value)
        one, other = known[claim.one], None if claim.other is None else known[claim.other]
        if one is None or (claim.other is not None and other is None):
            return None
        if claim.kind == RELATED:
            return self._related(one, claim.value, other)
        return _equal(self.things[one].get(claim.kind), claim.value)

    def _related(self, one: int, value: str, other: int | None) -> bool | None:
        """Tell whether a relation holds; None where the truth has none of the two."""
        inverse = self.lexicon.inverse
        said = {value: (one, other), inverse.get(value, value): (other, one)}
        true = [(a, name, b) for a, name, b in self.truth.get("relations", []) if {a, b} == {one, other}]
        return any(said.get(name) == (a, b) for a, name, b in true) if true else None


def judge_all(lexicon: Lexicon, captions: Sequence[Sequence[str]], truths: Sequence[Truth]) -> list[Judgement]:
    """Hold captions, given as tokens, against the truth of their samples."""
    reader = Reader(lexicon)
    pairs = zip(captions, truths, strict=True)
    return [Judge(lexicon, truth).judge(reader.read(words), len(words)) for words, truth in pairs]


def truth_metrics(lexicon: Lexicon, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Score captions by what they say; a share of nothing is 0.

    Returns:
        Fractions `statements_true` (of the statements that can be checked), the same `statements_true_by_kind`,
        `captions_true` (of captions: they state something, and nothing false), `objects_named` (of the samples'
        objects, by the looks of `Lexicon.naming`), `relations_checkable` (of the relations stated) and `words_unread`
        (part of no statement). And `statements_by_kind`, how many were checked.
    """
    counts: Counter[tuple[str, bool | None]] = Counter()
    for found in judgements:
        counts.update((verdict.kind, verdict.holds) for verdict in found.statements)
        counts.update(found.looks)
    kinds = sorted({OBJECT, RELATED, *lexicon.looks, *lexicon.beside, *lexicon.scene})
    checked = {kind: counts[kind, True] + counts[kind, False] for kind in kinds}
    return {
        "statements_true": _share(sum(j.num_true for j in judgements), sum(j.num_checked for j in judgements)),
        "captions_true": _share(sum(j.num_true > 0 and not j.has_false for j in judgements), len(judgements)),
        "objects_named": _share(sum(j.named for j in judgements), sum(j.objects for j in judgements)),
        "relations_checkable": _share(checked[RELATED], checked[RELATED] + counts[RELATED, None]),
        "words_unread": _share(sum(j.unread for j in judgements), sum(j.num_words for j in judgements)),
        "statements_true_by_kind": {kind: _share(counts[kind, True], checked[kind]) for kind in kinds},
        "statements_by_kind": checked,
    }


def _share(part: int, whole: int) -> float:
    return part / max(whole, 1)


def _equal(true: Any, value: str) -> bool | None:
    return None if true is None else true == value
