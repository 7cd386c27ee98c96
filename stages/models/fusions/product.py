"""Element-wise product of projected vectors (Kim et al. 2017, "Hadamard product for low-rank bilinear pooling").

Shapes: B batch, M modalities, D dim, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools


class Product(Fusion):
    """Multiplies what each modality's projection says, feature by feature; a missing one multiplies by one."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools and projections."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        self.projections = nn.ModuleList(nn.Linear(dim, dim) for _ in modalities)
        # The more factors, the smaller the product: the norm makes it comparable whatever is missing.
        self.read = nn.Sequential(nn.LayerNorm(dim), nn.Dropout(dropout), nn.Linear(dim, out))

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        product_BD = torch.ones_like(x_BMD[:, 0])
        for i, project in enumerate(self.projections):
            factor_BD = torch.tanh(project(x_BMD[:, i]))
            product_BD = product_BD * factor_BD.masked_fill(~present_BM[:, i, None], 1.0)
        return self.read(product_BD)
