"""Texts as the numbers of their words, by the vocabulary of the training split: the input of a trained text encoder.

The vocabulary travels with the extractor, so a served model turns raw text into the same numbers by itself.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.base.errors import InputError
from stages.base.store import VOCABULARY, digest, write_json
from stages.extractors.base import Extractor, read_text
from stages.media.text import PAD, SPECIALS, TOKENIZER, Vocabulary, tokenize

if TYPE_CHECKING:
    from stages.base.device import Device

VERSION = 1


class Tokens(Extractor):
    """int32 (max_words,): word numbers, cut at `max_words`, then `PAD`; words of no number are `UNKNOWN`."""

    dtype = "int32"

    def __init__(self, words: list[str], max_words: int) -> None:
        """Take the vocabulary, special tokens first, and the longest text."""
        self._vocabulary, self.max_words = Vocabulary(words), max_words
        self.shape = (max_words,)
        self.num_words = len(words)
        self.longest = f"{max_words} words"

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml and the vocabulary of `column` in the prepared data set.

        Raises:
            InputError: when that column has no vocabulary of words.
        """
        vocabularies = json.loads((prepared / VOCABULARY).read_text(encoding="utf8"))
        columns = [name for name, words in vocabularies.items() if tuple(words[: len(SPECIALS)]) == SPECIALS]
        if params.column not in columns:
            allowed = ", ".join(columns) or "none: the data set has no text"
            raise InputError(f"{key}.column: {params.column!r} has no words in {prepared}; expected one of {allowed}")
        return cls(vocabularies[params.column], params.max_words)

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return self._settings() | {"vocabulary_digest": digest(self._vocabulary.words)}

    def _settings(self) -> dict[str, Any]:
        return {"extractor": "tokens", "version": VERSION, "tokenizer": TOKENIZER, "max_words": self.max_words}

    def decode(self, media: bytes) -> np.ndarray:
        """Split UTF-8 text into words and number them."""
        tokens = tokenize(read_text(media))[: self.max_words]
        ids = self._vocabulary.encode(tokens, self.max_words)[1:-1]  # without start and end
        out = np.full(self.max_words, PAD, np.int32)
        out[: len(ids)] = ids
        return out

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a text has more words."""
        return len(tokenize(read_text(media))) > self.max_words

    def save(self, folder: Path) -> None:
        """Write settings and vocabulary."""
        write_json(folder / "extractor.json", self._settings() | {"vocabulary": self._vocabulary.words})

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read settings and vocabulary."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls(settings["vocabulary"], settings["max_words"])
