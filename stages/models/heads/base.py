"""What a caption decoder does, in training (all words at once) and in decoding (a word at a time).

Shapes: B images, C captions of one image or K beams, T words, L grid cells, D dim, V vocabulary. The grid is
kept once per image: captions and beams of one image share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn


@dataclass
class State:
    """What decoding carries from word to word: `memory` per image, its first a tensor (B, ...), `beams` (B, K, ...)."""

    memory: Sequence[Any]
    beams: list[Tensor]

    def reorder(self, parents_BK: Tensor) -> Self:
        """Let each beam go on from its parent."""
        rows = torch.arange(len(parents_BK), device=parents_BK.device).unsqueeze(1)
        return type(self)(self.memory, [tensor[rows, parents_BK] for tensor in self.beams])


Seen = TypeVar("Seen", contravariant=True)


class Decoder(Protocol[Seen]):
    """What writes a word at a time about what it has seen, such as a grid (B, L, D)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn (..., H) into scores of the next word (..., V)."""

    def start(self, seen: Seen, beams: int) -> State:
        """Read what is seen once and return the state before the first word."""

    def step(self, tokens_BK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take the words at `place`; return hidden (B, K, H), attention over what is seen (B, K, L), new state."""


class CaptionDecoder(nn.Module):
    """A `Decoder` of a grid, trained from nothing; input and output share the embedding (Press and Wolf 2017)."""

    def __init__(
        self, vocabulary_size: int, dim: int, layers: int, attention_heads: int, dropout: float, max_words: int
    ) -> None:
        """Make the shared embedding; a decoder builds the rest."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, grid_BLD: Tensor, tokens_BCT: Tensor, real_BCT: Tensor) -> Tensor:
        """Return what is read for the next word at the N real places, in order, (N, D)."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn (..., D) into scores of the next word (..., V)."""
        return nn.functional.linear(hidden, self.embedding.weight, self.bias)

    def start(self, grid_BLD: Tensor, beams: int) -> State:
        """Read the grid once and return the state before the first word."""
        raise NotImplementedError

    def step(self, tokens_BK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take the words at `place`; return hidden (B, K, D), attention over the grid (B, K, L), new state."""
        raise NotImplementedError


def padded(x_ND: Tensor, real_BCT: Tensor, fill: float = 0.0) -> Tensor:
    """Put packed words (N, D) back into the N real places of (B, C, T), (B, C, T, D); `fill` stands elsewhere."""
    places_BCTD = x_ND.new_full((*real_BCT.shape, x_ND.shape[-1]), fill)
    places_BCTD[real_BCT] = x_ND
    return places_BCTD
