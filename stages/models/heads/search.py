"""Batched search over any decoder, by beams or at random: one pass over what is seen, kept keys and values.

Shapes: B images, K beams, T words, L grid cells, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from stages.media.text import END, PAD, START, UNKNOWN
from stages.models.heads.base import Decoder, Seen


@dataclass
class Beams:
    """The hypotheses of all images: words so far, log probabilities, attention, whether they ended."""

    tokens_BKT: Tensor
    log_probs_BKT: Tensor
    attention_BKTL: Tensor
    done_BK: Tensor

    def lengths(self) -> Tensor:
        """Count the words of each hypothesis, its end counted."""
        return (self.tokens_BKT != PAD).sum(-1)

    def scores(self, length_penalty: float) -> Tensor:
        """Return the sum of log probabilities over length ** penalty (Wu et al. 2016 use a kin of it)."""
        return self.log_probs_BKT.sum(-1) / self.lengths().clamp(min=1).to(self.log_probs_BKT.dtype) ** length_penalty


@dataclass
class Caption:
    """One decoded caption; `attention` is (words, L), as `log_probs` without the end."""

    ids: list[int]
    score: float
    log_probs: list[float]
    attention: list[list[float]]


@dataclass(frozen=True)
class Search:
    """How a text is looked for: the likeliest of `beam_size`, or of as many drawn at random with a `temperature`.

    A text is drawn from the likeliest words that have `top_p` of the probability together (Holtzman et al. 2020).
    """

    beam_size: int
    max_words: int
    length_penalty: float
    temperature: float = 0.0
    top_p: float = 1.0

    @classmethod
    def of(cls, evaluate: Any, max_words: int) -> Self:
        """Take it from the section `evaluate`."""
        return cls(evaluate.beam_size, max_words, evaluate.length_penalty, evaluate.temperature, evaluate.top_p)


@torch.inference_mode()
def search(decoder: Decoder[Seen], seen: Seen, how: Search) -> list[Caption]:
    """Return the best text for each of B samples; ties go to the earlier beam.

    The random numbers are the same for each sample, whatever it is asked with: answers can be repeated.
    """
    state = decoder.start(seen, how.beam_size)
    noise = torch.Generator().manual_seed(0)
    first = state.memory[0]
    beams, tokens_BK = None, torch.full((len(first), how.beam_size), START, device=first.device)
    for place in range(how.max_words + 1):
        hidden, attention, state = decoder.step(tokens_BK, place, state)
        beams = beams or _none_yet(attention)
        log_probs_BKV = _next_log_probs(decoder.logits(hidden).float(), beams.done_BK, place == how.max_words)
        choose = _drawn if how.temperature else _likeliest
        parents_BK, tokens_BK = choose(beams, log_probs_BKV, how, noise)
        beams, state = _grown(beams, log_probs_BKV, attention, parents_BK, tokens_BK), state.reorder(parents_BK)
        if beams.done_BK.all():
            break
    assert beams is not None
    return _best(beams, how.length_penalty)


def _none_yet(attention_BKL: Tensor) -> Beams:
    done_BK = torch.zeros_like(attention_BKL[..., 0], dtype=torch.bool)
    nothing_BKT = torch.zeros_like(done_BK.unsqueeze(-1)[..., :0], dtype=torch.float32)
    return Beams(nothing_BKT.long(), nothing_BKT, attention_BKL.unsqueeze(2)[:, :, :0].float(), done_BK)


def _next_log_probs(logits_BKV: Tensor, done_BK: Tensor, must_end: bool) -> Tensor:
    """Forbid special words; an ended hypothesis goes on with padding at no cost."""
    logits_BKV[..., [PAD, START, UNKNOWN]] = -torch.inf
    log_probs_BKV = logits_BKV.log_softmax(-1)
    if must_end:
        end = log_probs_BKV[..., END].clone()
        log_probs_BKV.fill_(-torch.inf)
        log_probs_BKV[..., END] = end
    log_probs_BKV[done_BK] = -torch.inf
    log_probs_BKV[..., PAD][done_BK] = 0.0
    return log_probs_BKV


def _likeliest(beams: Beams, log_probs_BKV: Tensor, how: Search, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose the best continuations of all beams of an image, compared at their own lengths: parents and words."""
    width, words = log_probs_BKV.shape[1:]
    lengths_BK = beams.lengths() + (~beams.done_BK).long()
    totals_BKV = beams.log_probs_BKT.sum(-1, keepdim=True) + log_probs_BKV
    totals_BKV = totals_BKV / lengths_BK.unsqueeze(-1).to(totals_BKV.dtype) ** how.length_penalty
    if beams.tokens_BKT.shape[-1] == 0:
        totals_BKV[:, 1:] = -torch.inf  # all beams are equal before the first word
    best_BK = totals_BKV.flatten(1).topk(width).indices
    return best_BK // words, best_BK % words


def _drawn(beams: Beams, log_probs_BKV: Tensor, how: Search, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a word for each beam, which goes on from itself: by the Gumbel-max trick, with the same noise for all B."""
    images, width, words = log_probs_BKV.shape
    sharp_BKV = (log_probs_BKV / how.temperature).log_softmax(-1)
    sorted_BKV, order_BKV = sharp_BKV.sort(dim=-1, descending=True, stable=True)
    before_BKV = sorted_BKV.exp().cumsum(-1) - sorted_BKV.exp()
    sorted_BKV = sorted_BKV.masked_fill(before_BKV >= how.top_p, -torch.inf)  # the first is never left out
    sharp_BKV = sharp_BKV.scatter(-1, order_BKV, sorted_BKV)
    uniform_KV = torch.rand(width, words, generator=noise).clamp_min(1e-20).to(sharp_BKV.device)
    tokens_BK = (sharp_BKV - (-uniform_KV.log()).log()).argmax(-1)
    parents_BK = torch.arange(width, device=tokens_BK.device).expand(images, -1)
    return parents_BK, tokens_BK


def _grown(beams: Beams, log_probs_BKV: Tensor, attention_BKL: Tensor, parents_BK: Tensor, tokens_BK: Tensor) -> Beams:
    """Return the beams with the word chosen for each behind its parent's."""
    rows = torch.arange(len(parents_BK), device=parents_BK.device).unsqueeze(1)

    def grown(old: Tensor, new: Tensor) -> Tensor:
        return torch.cat([old[rows, parents_BK], new.unsqueeze(2)], dim=2)

    return Beams(
        tokens_BKT=grown(beams.tokens_BKT, tokens_BK),
        log_probs_BKT=grown(beams.log_probs_BKT, log_probs_BKV[rows, parents_BK, tokens_BK]),
        attention_BKTL=grown(beams.attention_BKTL, attention_BKL[rows, parents_BK]),
        done_BK=beams.done_BK[rows, parents_BK] | (tokens_BK == END),
    )


def _best(beams: Beams, length_penalty: float) -> list[Caption]:
    scores_BK = beams.scores(length_penalty)
    captions = []
    for image, beam in enumerate(scores_BK.argmax(1).tolist()):
        ids = [i for i in beams.tokens_BKT[image, beam].tolist() if i not in (PAD, END)]
        captions.append(
            Caption(
                ids=ids,
                score=scores_BK[image, beam].item(),
                log_probs=beams.log_probs_BKT[image, beam, : len(ids)].tolist(),
                attention=beams.attention_BKTL[image, beam, : len(ids)].tolist(),
            )
        )
    return captions
