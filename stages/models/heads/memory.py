"""What a decoder attends to, made of a sample's encoded modalities.

Shapes: B samples, L places of all modalities, D dim.
"""

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions import Fusion


class Memory(nn.Module):
    """The places of each modality, then their fusion where there are several; what is missing is a learned vector."""

    def __init__(self, dim: int, fusion: Fusion | None) -> None:
        """Take the fusion of several modalities, `dim` wide, None for one."""
        super().__init__()
        self.fusion = fusion
        self.absent_D = nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, L, D)."""
        parts = [torch.where(e.real_BL.unsqueeze(-1), e.x_BLD, self.absent_D) for e in encoded.values()]
        return torch.cat(parts if self.fusion is None else [*parts, self.fusion(encoded).unsqueeze(1)], dim=1)
