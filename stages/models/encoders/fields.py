"""Encoders of the fields of a table, after Gorishniy et al. 2021: each field becomes a vector of its own first.

A field's row has a mark for a missing cell, the number of its category, then values, as `media.fields` makes them.
Shapes: B batch, F fields, V values of a field, D dim.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.masked_attention import Block

MARK, CLASS, VALUES = 0, 1, 2  # as in `media.fields.columns`


class Fields(Encoder):
    """What encoders of fields share: a vector for each field."""

    start_F: Tensor
    named_F: Tensor

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for float32 (F, 2 + V), categories below `spec.cardinalities`."""
        super().__init__(spec, size)
        fields, width = spec.shape
        self.weight_FVD = nn.Parameter(torch.randn(fields, width - VALUES, size.dim) * (width - VALUES) ** -0.5)
        self.bias_FD = nn.Parameter(torch.randn(fields, size.dim) * 0.1)
        self.missing_FD = nn.Parameter(torch.randn(fields, size.dim) * 0.1)
        kinds = torch.tensor(spec.cardinalities)
        self.categories = nn.Embedding(int(kinds.sum()), size.dim) if kinds.any() else None
        self.register_buffer("start_F", kinds.cumsum(0) - kinds, persistent=False)
        self.register_buffer("named_F", kinds > 0, persistent=False)
        self.dropout = nn.Dropout(size.dropout)
        if self.categories is not None:
            with torch.no_grad():  # an unknown category begins as what is no category at all
                self.categories.weight[self.start_F[self.named_F]] = 0.0

    def vectors(self, features: Tensor) -> Tensor:
        """Return a vector for each field, (B, F, D)."""
        rows = features.float()
        x_BFD = torch.einsum("bfv,fvd->bfd", rows[..., VALUES:], self.weight_FVD)
        if self.categories is not None:
            numbers_BF = (self.start_F + rows[..., CLASS].long()) * self.named_F
            x_BFD = x_BFD + self.categories(numbers_BF) * self.named_F.unsqueeze(-1)
        return torch.where(rows[..., MARK, None] > 0, self.missing_FD, x_BFD) + self.bias_FD


class Transformer(Fields):
    """Fields attend to each other, norms first; a place for each field (the FT-Transformer)."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Fields`."""
        super().__init__(spec, size)
        self.blocks = nn.ModuleList(Block(size.dim, size.attention_heads, size.dropout) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.dim)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, F, 2 + V) into (B, F, D)."""
        x_BFD = self.vectors(features)
        for block in self.blocks:
            x_BFD = block(x_BFD)
        return self.norm(x_BFD)


class MLP(Fields):
    """All fields through hidden layers, each beside what it reads; one place.

    The sum of the fields' vectors is what a first layer over all values and categories would give.
    """

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Fields`."""
        super().__init__(spec, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size.dim) for _ in range(size.layers))
        self.hidden = nn.ModuleList(nn.Linear(size.dim, 2 * size.dim) for _ in range(size.layers))
        self.out = nn.ModuleList(nn.Linear(2 * size.dim, size.dim) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.dim)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, F, 2 + V) into (B, 1, D)."""
        x_B1D = self.vectors(features).sum(1, keepdim=True) * self.spec.shape[0] ** -0.5
        for norm, hidden, out in zip(self.norms, self.hidden, self.out, strict=True):
            x_B1D = x_B1D + self.dropout(out(F.gelu(hidden(norm(x_B1D)))))
        return self.norm(x_B1D)
