"""The word pieces of a language model."""

from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import InputError
from stages.media.text import END, SPECIALS, START, tokenize
from stages.pretrained import huggingface as pretrained

OFFSET = len(SPECIALS)  # the model's own numbers of word pieces begin behind ours
HALF = "\N{REPLACEMENT CHARACTER}"  # what stands for a letter whose bytes are not all there


class Pieces:
    """The word pieces of a model: its tokenizer's numbers behind those of our special tokens."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer.

        Raises:
            InputError: when it has no piece that ends a text.
        """
        self._tokenizer = pretrained.read_tokenizer(folder)
        self.end = self._tokenizer.eos_token_id
        if self.end is None:
            raise InputError("its tokenizer has no piece that ends a text (eos_token)")
        start = self._tokenizer.bos_token_id
        self.start = self.end if start is None else start
        added = self._tokenizer.get_added_vocab()
        self.special: dict[str, int] = {text: number for text, number in added.items() if text.strip()}

    def ids(self, text: str) -> list[int]:
        """Return the model's own numbers of a text; what looks like a special piece is but its letters."""
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def encode(self, text: str, max_pieces: int) -> list[int]:
        """Return start, at most `max_pieces` numbers, end; a text cut short has no end."""
        ids = [number + OFFSET for number in self.ids(text)]
        return [START, *ids[:max_pieces]] if len(ids) > max_pieces else [START, *ids, END]

    def read(self, ids: Sequence[int]) -> tuple[str, list[tuple[str, list[int]]]]:
        """Return the text of numbers, and its words as the metrics cut them, each with the places of its pieces."""
        own = [number - OFFSET for number in ids]
        ends = [len(self._text(own[: place + 1]).rstrip(HALF)) for place in range(len(own))]
        spans = list(zip([0, *ends], ends, strict=False))
        text, at, words = self._text(own), 0, []
        folded = text.lower()
        for word in tokenize(text):
            found = folded.find(word, at)
            # a word that is written otherwise, such as a number, has the next letter for its place
            first = found if found >= 0 else next((i for i in range(at, len(text)) if text[i].isalnum()), at)
            at = first + (len(word) if found >= 0 else 1)
            places = [place for place, span in enumerate(spans) if _touches(span, first, at)]
            words.append((word, places or [len(own) - 1]))
        return text.strip(), words

    def _text(self, own: list[int]) -> str:
        return self._tokenizer.decode(own, skip_special_tokens=True)


def _touches(span: tuple[int, int], first: int, end: int) -> bool:
    """Tell whether a piece's letters lie in those of a word; the first bytes of a letter have none yet."""
    return span[0] < end and (span[1] > first or span == (first, first))
