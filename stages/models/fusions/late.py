"""Late fusion: each modality decides alone, then the decisions are averaged (Kittler et al. 1998, the sum rule).

Under a linear head it cannot learn what lies only in a combination, such as whether text and image agree.
Shapes: B batch, M modalities, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools


class Late(Fusion):
    """A small network for each modality; learned weights, one for each modality, are shared among those present."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, networks and weights."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.decisions = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, out)) for _ in modalities
        )
        self.weight_M = nn.Parameter(torch.zeros(len(modalities)))

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        decided_BMO = torch.stack([decide(x_BMD[:, i]) for i, decide in enumerate(self.decisions)], dim=1)
        lowest = torch.finfo(self.weight_M.dtype).min
        weights_BM = self.weight_M.expand_as(present_BM).masked_fill(~present_BM, lowest).softmax(-1)
        return (weights_BM.unsqueeze(-1) * decided_BMO).sum(1)
