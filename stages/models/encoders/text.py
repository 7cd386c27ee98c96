"""Encoders of numbered words; 0 is padding and stands only behind a text.

A missing text is all padding: none of its places is real, and what comes out there is finite.
Shapes: B batch, L words, D dim.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.media.text import PAD
from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.masked_attention import Block
from stages.models.encoders.recurrent import bidirectional


class Words(Encoder):
    """What encoders of words share: the embedding, and which places are real."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for int32 word numbers (L,) below `spec.num_words`."""
        super().__init__(spec, size)
        self.embedding = nn.Embedding(spec.num_words, size.dim, padding_idx=PAD)
        self.dropout, self.norm = nn.Dropout(size.dropout), nn.LayerNorm(size.dim)

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return which of the words are no padding."""
        return features != PAD


class Bag(Words):
    """Mean and maximum of the embeddings through a small network (Shen et al. 2018, SWEM-concat); one place."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for int32 word numbers (L,)."""
        super().__init__(spec, size)
        self.hidden, self.out = nn.Linear(2 * size.dim, size.dim), nn.Linear(size.dim, size.dim)

    def forward(self, words: Tensor) -> Tensor:
        """Turn (B, L) into (B, 1, D)."""
        real_BL1 = (words != PAD).unsqueeze(-1)
        x_BLD = self.embedding(words)  # padding is zero
        mean_B1D = x_BLD.sum(1, keepdim=True) / real_BL1.sum(1, keepdim=True).clamp_min(1)
        lowest = torch.finfo(x_BLD.dtype).min
        highest_B1D = x_BLD.masked_fill(~real_BL1, lowest).amax(1, keepdim=True)
        highest_B1D = highest_B1D.masked_fill(~real_BL1.any(1, keepdim=True), 0.0)
        hidden_B1D = torch.relu(self.hidden(self.dropout(torch.cat([mean_B1D, highest_B1D], dim=-1))))
        return self.norm(self.out(self.dropout(hidden_B1D)))

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return for the one place whether there is any word."""
        return (features != PAD).any(1, keepdim=True)


class GRU(Words):
    """A bidirectional GRU (Cho et al. 2014), half of the dim for each direction."""

    network: type[nn.GRU] | type[nn.LSTM] = nn.GRU

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for int32 word numbers (L,)."""
        super().__init__(spec, size)
        self.recurrent = bidirectional(self.network, size)

    def forward(self, words: Tensor) -> Tensor:
        """Turn (B, L) into (B, L, D); both directions read only the real words."""
        lengths_B = (words != PAD).sum(1).clamp_min(1).cpu()  # of at least one word, as packing wants it
        packed = pack_padded_sequence(self.dropout(self.embedding(words)), lengths_B, True, enforce_sorted=False)
        x_BLD, _ = pad_packed_sequence(self.recurrent(packed)[0], True, total_length=words.shape[1])
        return self.norm(self.dropout(x_BLD))


class LSTM(GRU):
    """A bidirectional LSTM (Hochreiter and Schmidhuber 1997), half of the dim for each direction."""

    network = nn.LSTM


class Transformer(Words):
    """Embeddings with learned places; words attend to each other (Vaswani et al. 2017), norms first."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for int32 word numbers (L,)."""
        super().__init__(spec, size)
        self.place_LD = nn.Parameter(torch.randn(spec.shape[0], size.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(size.dim, size.attention_heads, size.dropout) for _ in range(size.layers))

    def forward(self, words: Tensor) -> Tensor:
        """Turn (B, L) into (B, L, D)."""
        x_BLD = self.dropout(self.embedding(words) + self.place_LD[: words.shape[1]])
        for block in self.blocks:
            x_BLD = block(x_BLD, words != PAD)
        return self.norm(x_BLD)
