"""Encoders of the fields of a table, after Gorishniy et al. 2021: each field becomes a vector of its own first.

A field's row has a mark for a missing cell, the number of its category, then values, as `media.fields` makes them.
Shapes: B batch, F fields, V values of a field, K waves of a value, R what is read of both, N fields of categories,
D dim.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.masked_attention import Block

MARK, CLASS, VALUES = 0, 1, 2  # as in `media.columns`
WAVES, SPREAD = 8, 0.3  # of a value: how many sines, and how far apart their frequencies begin


class Fields(Encoder):
    """What encoders of fields share: a vector for each field.

    Numbers are read beside sines of them, whose frequencies are learnt (Gorishniy et al. 2022, "On embeddings for
    numerical features"): by a straight line alone it takes long to tell a band of values from those on both sides.
    """

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for float32 (F, 2 + V), categories below `spec.cardinalities`."""
        super().__init__(spec, size)
        fields, values = spec.shape[0], spec.shape[1] - VALUES
        self.frequency_FVK = nn.Parameter(torch.randn(fields, values, WAVES) * SPREAD)
        read = values * (1 + 2 * WAVES)
        self.weight_FRD = nn.Parameter(torch.randn(fields, read, size.dim) * read**-0.5)
        self.bias_FD = nn.Parameter(torch.randn(fields, size.dim) * 0.1)
        self.missing_FD = nn.Parameter(torch.randn(fields, size.dim) * 0.1)
        self.starts = [sum(spec.cardinalities[:place]) for place in range(fields)]  # of each field's own categories
        self.named = [place for place, number in enumerate(spec.cardinalities) if number]
        self.categories = nn.Embedding(sum(spec.cardinalities), size.dim) if self.named else None
        self.dropout = nn.Dropout(size.dropout)
        if self.categories is not None:
            with torch.no_grad():  # an unknown category begins as what is no category at all
                self.categories.weight[[self.starts[place] for place in self.named]] = 0.0

    def vectors(self, features: Tensor) -> Tensor:
        """Return a vector for each field, (B, F, D)."""
        rows = features.float()
        values_BFV = rows[..., VALUES:]
        waves_BFVK = 2 * math.pi * values_BFV.unsqueeze(-1) * self.frequency_FVK
        read_BFR = torch.cat([values_BFV, waves_BFVK.sin().flatten(2), (waves_BFVK.cos() - 1).flatten(2)], dim=-1)
        x_BFD = torch.einsum("bfr,frd->bfd", read_BFR, self.weight_FRD)
        if self.categories is not None:
            starts = torch.tensor([self.starts[place] for place in self.named], device=rows.device)
            named_BND = self.categories(rows[:, self.named, CLASS].long() + starts)
            x_BFD = x_BFD.index_add(1, torch.tensor(self.named, device=rows.device), named_BND.to(x_BFD.dtype))
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
