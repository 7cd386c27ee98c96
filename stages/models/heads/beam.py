"""Batched beam search over any caption decoder: one pass over the grid per image, kept keys and values.

Shapes: B images, K beams, T words, L grid cells, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.media.text import END, PAD, START, UNKNOWN
from stages.models.heads.base import CaptionDecoder, State


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


@torch.inference_mode()
def beam_search(
    decoder: CaptionDecoder, grid_BLD: Tensor, beam_size: int, max_words: int, length_penalty: float
) -> list[Caption]:
    """Return the best caption of each image; ties go to the earlier beam."""
    images, cells = grid_BLD.shape[:2]
    state = decoder.start(grid_BLD, beam_size)
    beams = Beams(
        tokens_BKT=grid_BLD.new_zeros(images, beam_size, 0, dtype=torch.long),
        log_probs_BKT=grid_BLD.new_zeros(images, beam_size, 0),
        attention_BKTL=grid_BLD.new_zeros(images, beam_size, 0, cells),
        done_BK=grid_BLD.new_zeros(images, beam_size, dtype=torch.bool),
    )
    last_BK = torch.full((images, beam_size), START, device=grid_BLD.device)
    for place in range(max_words + 1):
        hidden, attention, state = decoder.step(last_BK, place, state)
        log_probs_BKV = _next_log_probs(decoder.logits(hidden).float(), beams.done_BK, place == max_words)
        beams, state = _extend(beams, state, log_probs_BKV, attention, length_penalty)
        last_BK = beams.tokens_BKT[..., -1]
        if beams.done_BK.all():
            break
    return _best(beams, length_penalty)


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


def _extend(
    beams: Beams, state: State, log_probs_BKV: Tensor, attention_BKL: Tensor, length_penalty: float
) -> tuple[Beams, State]:
    """Keep the best continuations of all beams of an image, compared at their own lengths."""
    images, width, words = log_probs_BKV.shape
    lengths_BK = beams.lengths() + (~beams.done_BK).long()
    totals_BKV = beams.log_probs_BKT.sum(-1, keepdim=True) + log_probs_BKV
    totals_BKV = totals_BKV / lengths_BK.unsqueeze(-1).to(totals_BKV.dtype) ** length_penalty
    if beams.tokens_BKT.shape[-1] == 0:
        totals_BKV[:, 1:] = -torch.inf  # all beams are equal before the first word
    best_BK = totals_BKV.flatten(1).topk(width).indices
    parents_BK, tokens_BK = best_BK // words, best_BK % words
    rows = torch.arange(images, device=best_BK.device).unsqueeze(1)

    def grown(old: Tensor, new: Tensor) -> Tensor:
        return torch.cat([old[rows, parents_BK], new.unsqueeze(2)], dim=2)

    extended = Beams(
        tokens_BKT=grown(beams.tokens_BKT, tokens_BK),
        log_probs_BKT=grown(beams.log_probs_BKT, log_probs_BKV[rows, parents_BK, tokens_BK]),
        attention_BKTL=grown(beams.attention_BKTL, attention_BKL[rows, parents_BK]),
        done_BK=beams.done_BK[rows, parents_BK] | (tokens_BK == END),
    )
    return extended, state.reorder(parents_BK)


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
