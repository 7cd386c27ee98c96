"""Graph convolution over modalities as nodes (Kipf and Welling 2017); the edges are learned similarities.

Shapes: B batch, M and N modalities, D dim, O out.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools

LAYERS = 2


class Graph(Fusion):
    """Two graph convolutions, then the mean of the nodes that are present; others have no edges."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, the similarity and the layers."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.similar = nn.Linear(dim, dim)
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(LAYERS))
        self.dropout, self.read = nn.Dropout(dropout), nn.Linear(dim, out)

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        adjacency_BMN = self.adjacency(x_BMD, present_BM)
        for layer in self.layers:
            x_BMD = self.dropout(F.gelu(adjacency_BMN @ layer(x_BMD)))
        present_BM1 = present_BM.unsqueeze(-1)
        return self.read((x_BMD * present_BM1).sum(1) / present_BM1.sum(1).clamp_min(1))

    def adjacency(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """Return similarities in 0..1 of present nodes, with self-loops, normalised by both degrees (equation 2)."""
        end_BMD = self.similar(x_BMD)  # one projection for both ends, so that edges have no direction
        similarity_BMN = torch.sigmoid(end_BMD @ end_BMD.transpose(1, 2) * self.dim**-0.5)
        edges_BMN = present_BM.unsqueeze(1) & present_BM.unsqueeze(2)
        looped_BMN = similarity_BMN * edges_BMN + torch.eye(len(self.modalities), device=x_BMD.device)
        scale_BM = looped_BMN.sum(-1).rsqrt()
        return scale_BM.unsqueeze(2) * looped_BMN * scale_BM.unsqueeze(1)
