"""Modality tokens that read all places of all sequences (after Jaegle et al. 2021, "Perceiver").

The only fusion that looks into the sequences with a query made of another modality, so that a question can find its
place in an image. Shapes: B batch, M modalities, L places of a modality, D dim, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.encoders.masked_attention import Block, MaskedAttention
from stages.models.fusions.base import Fusion, Pools

LAYERS, HEADS = 2, 4


class Attention(Fusion):
    """A token for each modality, its pooled vector, goes through the layers; all tokens are joined and projected.

    The token of a missing modality is seen by no other and joined as zeros.
    """

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, type embeddings and layers; 4 heads share `dim`."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.type_MD = nn.Parameter(torch.randn(len(modalities), dim) * 0.02)
        self.layers = nn.ModuleList(Layer(dim, dropout) for _ in range(LAYERS))
        self.norm_places, self.norm_tokens = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.read = nn.Linear(len(modalities) * dim, out)

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        x_BMD = x_BMD + self.type_MD
        places = self._places(encoded)
        for layer in self.layers:
            x_BMD = layer(x_BMD, present_BM, places)
        return self.read(self.norm_tokens(x_BMD).masked_fill(~present_BM.unsqueeze(-1), 0.0).flatten(1))

    def _places(self, encoded: dict[str, Encoded]) -> list[tuple[Tensor, Tensor]]:
        """Return each modality's sequence, marked with its type, and which of its places are real."""
        places = []
        for type_D, modality in zip(self.type_MD, self.modalities, strict=True):
            found = encoded[modality]
            x_BLD = (found.x_BLD + type_D).masked_fill(~found.real_BL.unsqueeze(-1), 0.0)
            places.append((self.norm_places(x_BLD), found.real_BL))
        return places


class Layer(nn.Module):
    """Tokens attend to all places, then to each other, then pass a feed-forward network; norms stand first."""

    def __init__(self, dim: int, dropout: float) -> None:
        """Make the parts."""
        super().__init__()
        self.read, self.block = MaskedAttention(dim, HEADS), Block(dim, HEADS, dropout)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, x_BMD: Tensor, present_BM: Tensor, places: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return (B, M, D)."""
        x_BMD = x_BMD + self.dropout(self.read.over(self.norm(x_BMD), places))
        return self.block(x_BMD, present_BM)
