"""A learned projection of cached features; the backbone that made them stays frozen.

Shapes: B batch, L = grid cells, rows first, or words, C = channels of the backbone, D = dim.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec


class Projection(Encoder):
    """Normalise, project, add a learned place for each cell; dropout takes whole channels of an image."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for features (L, C) of a square grid or a sequence, or (C,) of a pooled vector."""
        super().__init__(spec, size)
        (cells, channels), dim = (spec.shape if len(spec.shape) == 2 else (1, *spec.shape)), size.dim
        self.side = math.isqrt(cells)
        self.scale, self.hidden, self.out = nn.LayerNorm(channels), nn.Linear(channels, dim), nn.Linear(dim, dim)
        self.place_LD = nn.Parameter(torch.randn(cells, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, L, C) or (B, C) into a grid (B, L, D)."""
        x_BLC = features.float() if features.ndim == 3 else features.float().unsqueeze(1)
        hidden_BLD = F.gelu(self.hidden(self._drop(self.scale(x_BLC))))
        return self.norm(self.out(self._drop(hidden_BLD)) + self.place_LD)

    def _drop(self, x_BLC: Tensor) -> Tensor:
        return F.dropout1d(x_BLC.transpose(1, 2), self.size.dropout, self.training).transpose(1, 2)

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return where any channel is not zero: extractors of words write zeros past the end of a text."""
        return (features != 0).any(-1).view(-1, length)

    def mirror(self, features: Tensor) -> Tensor:
        """Swap the left and right cells, which comes near to the features of the mirrored image."""
        if features.ndim == 2 or self.side**2 != features.shape[1]:
            return features
        return features.unflatten(1, (self.side, self.side)).flip(2).flatten(1, 2)
