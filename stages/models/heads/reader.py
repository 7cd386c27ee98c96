"""A caption decoder that reads a text beside what it attends to, instead of writing one, and what scores its reading.

Shapes: B samples, K texts of each, T words, L places of the memory, D dim, A answers.
"""

import torch
from torch import Tensor, nn

from stages.media.text import PAD
from stages.models.fusions.base import VERY_LOW
from stages.models.heads.base import CaptionDecoder


def read_texts(decoder: CaptionDecoder, memory_BLD: Tensor, words_BKT: Tensor) -> Tensor:
    """Return what the decoder holds after each text's last word, beside the maximum over its words, (B, K, 2 * D).

    Texts are numbered words, padded behind; one of no words becomes zeros.
    """
    words_BKT = words_BKT[..., : max(1, int((words_BKT != PAD).sum(-1).max()))]
    real_BKT = words_BKT != PAD
    read_ND = decoder(memory_BLD, words_BKT, real_BKT)
    read_BKTD = read_ND.new_full((*real_BKT.shape, read_ND.shape[-1]), VERY_LOW)
    read_BKTD[real_BKT] = read_ND
    last_BK = (real_BKT.sum(-1) - 1).clamp_min(0)
    last_BKD = read_BKTD.gather(2, last_BK[..., None, None].expand(-1, -1, 1, read_ND.shape[-1])).squeeze(2)
    there_BK1 = real_BKT.any(-1, keepdim=True)
    return torch.cat([last_BKD, read_BKTD.amax(2)], dim=-1).masked_fill(~there_BK1, 0.0)


class BilinearScores(nn.Module):
    """Scores of answers from products of what was read (Kim et al. 2017, low-rank bilinear pooling).

    Whether what a text says fits what is there is a product of both: a sum learns it many times slower.
    """

    def __init__(self, dim: int, dropout: float, answers: int) -> None:
        """Make two projections of readings `dim` wide."""
        super().__init__()
        self.norm, self.norm_product = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.factors = nn.Linear(dim, 2 * dim)
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(dim, answers)

    def forward(self, read_BKD: Tensor) -> Tensor:
        """Return (B, K, A)."""
        one_BKD, other_BKD = self.factors(self.norm(read_BKD)).chunk(2, dim=-1)
        return self.out(self.dropout(self.norm_product(one_BKD * other_BKD)))
