"""A lexicon: what the phrases of a data set's captions say of the truth of a sample.

`prepare` writes it where the source offers one, `evaluate` judges captions by it. The truth that it speaks of:
`{"objects": [{attribute: value}], "relations": [[object, relation, object]], attribute: value}`, objects in relations
by their number. What the truth does not have, such as `relations`, cannot be checked.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

LEXICON = "lexicon.json"
ONE, OTHER, RELATION = "{one}", "{other}", "{relation}"
Phrases = dict[str, list[str]]  # by the value that they say, as captions have them


@dataclass(frozen=True)
class Lexicon:
    """The phrases by what they say, cut as captions are; where several fit, the one of most tokens is read.

    An object is named by looks that stand together, one of them its noun, behind an article or none.
    A pattern is words and slots, such as `{one} is {relation} {other}` or `{place} is {one}`: how a relation, or an
    attribute of `beside`, is said of objects. One without `{one}`, such as `and {relation} {other}`,
    goes on about the object that the relation before it was about.
    """

    noun: str  # the look that is the noun
    naming: list[str]  # the looks by which an object counts as named
    looks: dict[str, Phrases]  # by attribute of an object
    beside: dict[str, Phrases]  # by attribute of an object that is said beside its name, such as its place
    scene: dict[str, Phrases]  # by attribute of the whole
    relations: Phrases
    inverse: dict[str, str]  # of a relation: the same seen from the other object, where there is a word for it
    patterns: list[str]
    articles: list[str]
    glue: list[str]  # words that say nothing by themselves

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Self:
        """Return the lexicon that `as_json` gave."""
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return dataclasses.asdict(self)


def read_lexicon(prepared: Path) -> Lexicon | None:
    """Return the lexicon of a prepared data set, None where its source has none."""
    path = prepared / LEXICON
    return Lexicon.of_json(json.loads(path.read_text(encoding="utf8"))) if path.exists() else None
