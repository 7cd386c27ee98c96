"""A learned projection of cached grid features; the backbone that made them stays frozen.

Shapes: B batch, L = grid cells, rows first, C = channels of the backbone, D = dim.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.encoders.base import Encoder


class Projection(Encoder):
    """Normalise, project, add a learned place for each cell; dropout takes whole channels of an image."""

    def __init__(self, feature_shape: tuple[int, ...], dim: int, dropout: float) -> None:
        """Build for features (L, C) of a square grid, or (C,) of a pooled vector."""
        super().__init__(feature_shape, dim, dropout)
        cells, channels = feature_shape if len(feature_shape) == 2 else (1, *feature_shape)
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
        return F.dropout1d(x_BLC.transpose(1, 2), self.dropout, self.training).transpose(1, 2)

    def mirror(self, features: Tensor) -> Tensor:
        """Swap the left and right cells, which comes near to the features of the mirrored image."""
        if features.ndim == 2 or self.side**2 != features.shape[1]:
            return features
        return features.unflatten(1, (self.side, self.side)).flip(2).flatten(1, 2)
