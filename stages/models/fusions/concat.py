"""Early fusion: all modalities joined into one long vector (Ngiam et al. 2011, "Multimodal deep learning").

Shapes: B batch, M modalities, D dim, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools


class Concat(Fusion):
    """Pooled vectors joined, through two layers; a learned vector stands in for a missing one."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, stand-ins and layers."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.absent_MD = nn.Parameter(torch.randn(len(modalities), dim) * 0.02)
        self.layers = nn.Sequential(
            nn.Linear(len(modalities) * dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, out)
        )

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        return self.layers(torch.where(present_BM.unsqueeze(-1), x_BMD, self.absent_MD).flatten(1))
