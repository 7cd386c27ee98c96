"""The template of what stands before a language model's text: literals, and fields for a sample's texts and media."""

import re
import string
from collections.abc import Mapping, Sequence

from stages.models.heads.pieces import Pieces


class Run:
    """A stretch of a template between media: special pieces, and texts with fields."""

    def __init__(self, parts: list[tuple[str, str]], pieces: Pieces) -> None:
        """Take literals and the names of the fields behind them; special pieces count in literals alone."""
        self._pieces = pieces
        self.fields = tuple(field for _, field in parts if field)
        special = "|".join(re.escape(text) for text in sorted(pieces.special, key=len, reverse=True))
        self._segments: list[int | list[tuple[str, str]]] = [[]]
        for literal, field in parts:
            for text in re.split(f"({special})", literal) if special else [literal]:
                if text in pieces.special:
                    self._segments += [pieces.special[text], []]
                else:
                    self._add(text, "")
            self._add("", field)

    def _add(self, literal: str, field: str) -> None:
        last = self._segments[-1]
        assert isinstance(last, list)
        if literal or field:
            last.append((literal, field))

    def fill(self, values: Mapping[str, str]) -> list[int]:
        """Return the model's own numbers with the fields' texts in their places; of nothing, what starts a text."""
        ids: list[int] = []
        for segment in self._segments:
            if isinstance(segment, int):
                ids.append(segment)
            else:
                ids += self._pieces.ids("".join(literal + values.get(field, "") for literal, field in segment))
        return ids or [self._pieces.start]


def read_template(template: str, media: Sequence[str], pieces: Pieces) -> list[Run | str]:
    """Cut a template at its fields that are media: runs of text, and the media's names."""
    items: list[Run | str] = []
    parts: list[tuple[str, str]] = []
    for literal, field, _, _ in string.Formatter().parse(template):
        if field is not None and field in media:
            items += [Run([*parts, (literal, "")], pieces), field]
            parts = []
        else:
            parts.append((literal, field or ""))
    return [*items, Run(parts, pieces)] if parts else items
