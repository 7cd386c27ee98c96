"""A caption decoder that reads a text beside what it attends to, instead of writing one, and what scores its reading.

Shapes: B samples, K texts of each, T words, N words of all texts, L places of the memory, D dim, A answers.
"""

import torch
from torch import Tensor, nn

from stages.media.text import PAD, START
from stages.models.fusions.base import VERY_LOW
from stages.models.heads.base import CaptionDecoder, padded


class Reading(nn.Module):
    """What a decoder holds after a text, and how what it expected at each word fits the word that came.

    A captioner expects true words: after "the ring to the left of the" those of an object that is there. So whether a
    text is true of a picture can be seen by how likely it finds each word (Lin et al. 2024, "Revisiting the role of
    language priors in vision-language models"); where it was mistaken, by the product of its state and the word.
    """

    def __init__(self, dim: int) -> None:
        """Make the projection of products and likelihoods, `dim` wide."""
        super().__init__()
        self.fit = nn.Linear(dim + 1, dim)
        self.width = 3 * dim

    def forward(self, decoder: CaptionDecoder, memory_BLD: Tensor, words_BKT: Tensor) -> Tensor:
        """Return (B, K, 3 * D): the state after the last word, then the maxima over words of states and of fits.

        Texts are numbered words, padded behind; one of no words becomes zeros.
        """
        there_BK = (words_BKT != PAD).any(-1)
        longest = max(1, int((words_BKT != PAD).sum(-1).max()))
        start_BK1 = torch.where(there_BK, START, PAD).unsqueeze(-1)
        words_BKT = torch.cat([start_BK1.to(words_BKT.dtype), words_BKT[..., :longest]], dim=-1)
        real_BKT = words_BKT != PAD
        read_ND = decoder(memory_BLD, words_BKT, real_BKT)
        read_BKTD = padded(read_ND, real_BKT, VERY_LOW)
        followed_BKT = real_BKT[..., 1:]
        fit_ND = self._fit(decoder, read_BKTD[..., :-1, :][followed_BKT], words_BKT[..., 1:][followed_BKT])
        last_BK = (real_BKT.sum(-1) - 1).clamp_min(0)
        last_BKD = read_BKTD.gather(2, last_BK[..., None, None].expand(-1, -1, 1, read_ND.shape[-1])).squeeze(2)
        parts = [last_BKD, read_BKTD.amax(2), padded(fit_ND, followed_BKT, VERY_LOW).amax(2).to(read_ND.dtype)]
        return torch.cat(parts, dim=-1).masked_fill(~there_BK.unsqueeze(-1), 0.0)

    def _fit(self, decoder: CaptionDecoder, expected_ND: Tensor, words_N: Tensor) -> Tensor:
        """Return (N, D) of the states before words and these words."""
        product_ND = expected_ND * decoder.embedding(words_N) * expected_ND.shape[-1] ** 0.5
        likelihood_N1 = decoder.logits(expected_ND).float().log_softmax(-1).gather(-1, words_N.long().unsqueeze(-1))
        return self.fit(torch.cat([product_ND, likelihood_N1.to(product_ND.dtype)], dim=-1))


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
