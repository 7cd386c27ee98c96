"""Low-rank tensor fusion (Liu et al. 2018, "Efficient low-rank multimodal fusion", section 3.3).

The outer product of all modalities, each with a 1 appended so that products of fewer of them are in it too, is never
formed: a weight tensor of low rank factors into one matrix for each modality.
Shapes: B batch, D dim, R rank, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools

RANK = 8


class LowRankTensor(Fusion):
    """Multiplies what the modalities' factors say and sums over the rank; a missing modality's factor is skipped."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, factors and the weights of the rank."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        factors = [nn.Linear(dim, RANK * out) for _ in modalities]
        for factor in factors:  # its bias is the weight of the appended 1: at 1, all orders start alike
            nn.init.ones_(factor.bias)
        self.factors = nn.ModuleList(factors)
        self.rank_R = nn.Parameter(torch.randn(RANK) * RANK**-0.5)
        self.bias_O = nn.Parameter(torch.zeros(out))

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, present_BM = self.pools(encoded)
        product_BE = torch.ones(len(x_BMD), RANK * self.out, device=x_BMD.device)
        for i, factor in enumerate(self.factors):
            product_BE = product_BE * factor(x_BMD[:, i]).masked_fill(~present_BM[:, i, None], 1.0)
        return self.rank_R @ product_BE.view(-1, RANK, self.out) + self.bias_O
