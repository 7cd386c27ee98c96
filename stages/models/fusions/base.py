"""What a fusion does: several modalities in, one vector out, whichever of them a sample has.

Shapes: B batch, M modalities in the order they are given, L places of a modality's sequence, D dim, O out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoded

VERY_LOW = -1e4  # of a score that must not count; a number that float16 and bfloat16 hold too


class Fusion(nn.Module):
    """The protocol of a fusion.

    A missing modality is an ordinary case: `real_BL` of its `Encoded` is false everywhere, and what stands in
    `x_BLD` there (even nan) has no influence on the output. A sample without any still gets a finite output.

    A modality may be shared: it then has fewer rows than others, and each is for as many samples in a row as the
    largest batch has for it. So all questions about an image read its one encoding.
    """

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Build for these modalities, each of width `dim`; `out` is the width of the fused vector."""
        super().__init__()
        self.modalities, self.dim, self.out = tuple(modalities), dim, out

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, out) of all modalities."""
        raise NotImplementedError


class AttentionPool(nn.Module):
    """A sequence to one vector: a learned query's attention over the real places, beside their maximum."""

    def __init__(self, dim: int, dropout: float) -> None:
        """Make the query and the projection of both halves."""
        super().__init__()
        self.score = nn.Linear(dim, 1)
        self.project = nn.Sequential(nn.Linear(2 * dim, dim), nn.LayerNorm(dim), nn.Dropout(dropout))

    def forward(self, encoded: Encoded) -> Tensor:
        """Return (B, D); zeros where the modality is missing."""
        real_BL1 = encoded.real_BL.unsqueeze(-1)
        x_BLD = encoded.x_BLD.masked_fill(~real_BL1, 0.0)
        weights_BL1 = self.score(x_BLD).masked_fill(~real_BL1, VERY_LOW).softmax(1)
        highest_BD = x_BLD.masked_fill(~real_BL1, VERY_LOW).amax(1).masked_fill(~encoded.present_B.unsqueeze(-1), 0.0)
        pooled_BD = self.project(torch.cat([(weights_BL1 * x_BLD).sum(1), highest_BD], dim=-1))
        return pooled_BD.masked_fill(~encoded.present_B.unsqueeze(-1), 0.0)


class Pools(nn.Module):
    """Every modality to one vector: the common first step of fusions that need no sequences."""

    def __init__(self, modalities: Sequence[str], dim: int, dropout: float) -> None:
        """Make a pool for each modality."""
        super().__init__()
        self.pools = nn.ModuleDict({modality: AttentionPool(dim, dropout) for modality in modalities})

    def forward(self, encoded: dict[str, Encoded]) -> tuple[Tensor, Tensor]:
        """Return vectors (B, M, D), zeros where missing, and which are present (B, M)."""
        size = max(len(found.x_BLD) for found in encoded.values())
        vectors = [_shared(pool(encoded[modality]), size) for modality, pool in self.pools.items()]
        present = [_shared(encoded[modality].present_B, size) for modality in self.pools]
        return torch.stack(vectors, dim=1), torch.stack(present, dim=1)


def _shared(rows: Tensor, size: int) -> Tensor:
    return rows if len(rows) == size else rows.repeat_interleave(size // len(rows), 0)
