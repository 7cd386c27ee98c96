"""Attention that leaves out places which are not real (Vaswani et al. 2017), for encoders and fusions.

Written out: torch's fused kernel is several times slower backwards in bfloat16 on a CPU, and on a GPU its backward
pass is not deterministic. Shapes: B batch, T queries, L places attended to, H heads, D dim.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MaskedAttention(nn.Module):
    """Multi-head attention from some places to the real ones of others."""

    def __init__(self, dim: int, heads: int) -> None:
        """Make the projections; `heads` divides `dim`."""
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor, context_BLD: Tensor, real_BL: Tensor | None = None) -> Tensor:
        """Return (B, T, D); finite also where nothing of the context is real. Without `real_BL` all of it is."""
        return self.over(x_BTD, [(context_BLD, real_BL)])

    def over(self, x_BTD: Tensor, contexts: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        """Attend to the places of several contexts (C, L, D), (C, L) at once; of None all are real.

        A row of a context is for B / C samples in a row, and is projected once for all of them.
        """
        query_BHTE = self._split(self.query(x_BTD)) * (x_BTD.shape[-1] // self.heads) ** -0.5
        scores, values = [], []
        for context_CLD, real_CL in contexts:
            key_CHLE, value_CHLE = (self._split(half) for half in self.key_value(context_CLD).chunk(2, dim=-1))
            found = _group(query_BHTE, len(context_CLD)) @ key_CHLE.transpose(-1, -2)
            if real_CL is not None:
                found = found.masked_fill(~real_CL[:, None, None], torch.finfo(found.dtype).min)
            scores.append(_ungroup(found, len(x_BTD)))
            values.append(value_CHLE)
        joined = torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0]
        weights = joined.softmax(-1).split([found.shape[-1] for found in scores], dim=-1)
        mixed = [_ungroup(_group(w, len(v)) @ v, len(x_BTD)) for w, v in zip(weights, values, strict=True)]
        mixed_BHTE = torch.stack(mixed).sum(0) if len(mixed) > 1 else mixed[0]
        return self.out(mixed_BHTE.transpose(1, 2).flatten(2))

    def _split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _group(x_BHTE: Tensor, groups: int) -> Tensor:
    """Put the queries of consecutive samples side by side, (C, H, B / C * T, E)."""
    return x_BHTE.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2, 3)


def _ungroup(x_CHQE: Tensor, size: int) -> Tensor:
    """Undo `_group`, (B, H, T, E)."""
    return x_CHQE.unflatten(2, (size // len(x_CHQE), -1)).transpose(1, 2).flatten(0, 1)


class Block(nn.Module):
    """Places attend to each other, then pass a feed-forward network; norms stand first (Xiong et al. 2020)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        """Make both parts."""
        super().__init__()
        self.attention = MaskedAttention(dim, heads)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, real_BL: Tensor | None = None) -> Tensor:
        """Return (B, L, D)."""
        normed_BLD = self.norms[0](x_BLD)
        x_BLD = x_BLD + self.dropout(self.attention(normed_BLD, normed_BLD, real_BL))
        return x_BLD + self.dropout(self.feed_forward(self.norms[1](x_BLD)))
