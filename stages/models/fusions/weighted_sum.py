"""A sum whose weights depend on the sample (Arevalo et al. 2017, "Gated multimodal units", section 3.1).

Shapes: B batch, M modalities, D dim, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools


class WeightedSum(Fusion):
    """For each feature, gates that see all modalities share the weight 1 among those present."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, projections and gates."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.projections = nn.ModuleList(nn.Linear(dim, dim) for _ in modalities)
        self.gates = nn.Linear(len(modalities) * dim, len(modalities) * dim)
        self.read = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, out))

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        said_BMD = torch.stack([torch.tanh(project(x_BMD[:, i])) for i, project in enumerate(self.projections)], dim=1)
        scores_BMD = self.gates(x_BMD.flatten(1)).view_as(x_BMD)
        lowest = torch.finfo(scores_BMD.dtype).min
        weights_BMD = scores_BMD.masked_fill(~present_BM.unsqueeze(-1), lowest).softmax(1)
        return self.read((weights_BMD * said_BMD).sum(1))
