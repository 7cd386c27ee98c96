"""The loss of connectionist temporal classification, and which moments a text was read from."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.media.text import PAD

NEVER = -1e30  # the log probability of what cannot be; finite, so that differences of two stay numbers


def ctc_loss(logits_BTV: Tensor, texts_BU: Tensor) -> Tensor:
    """Return the mean over samples of the negative log probability of a text, for each of its units.

    Samples without a text, and those whose text does not fit into the moments there are, do not count. It is computed
    on the CPU: the kernel for GPUs adds up in an order that changes from run to run.
    """
    lengths_B = (texts_BU != PAD).sum(1).cpu()
    log_probs_TBV = logits_BTV.float().log_softmax(-1).transpose(0, 1).cpu()
    moments_B = torch.full_like(lengths_B, len(log_probs_TBV))
    each_B = F.ctc_loss(
        log_probs_TBV, texts_BU.cpu(), moments_B, lengths_B, blank=PAD, reduction="none", zero_infinity=True
    )
    counted_B = (lengths_B > 0) & (needed(texts_BU.cpu()) <= len(log_probs_TBV))
    per_unit_B = each_B[counted_B] / lengths_B[counted_B]
    return (per_unit_B.sum() / max(1, len(per_unit_B))).to(logits_BTV.device)


def needed(texts_BU: Tensor) -> Tensor:
    """Return the fewest moments in which each text can be read: one a unit, and one between two that are equal."""
    real_BU = texts_BU != PAD
    repeated_BU = (texts_BU[:, 1:] == texts_BU[:, :-1]) & real_BU[:, 1:]
    return real_BU.sum(1) + repeated_BU.sum(1)


def spread(units: list[int], places: list[tuple[float, float]], seconds: float, moments: int) -> np.ndarray:
    """Return the unit of each moment, (T,), of a text whose units are said from and to these seconds; else the blank.

    Between two equal units without a pause a moment is blank, or they would be read as one.

    Example:
        >>> spread([4, 4, 7], [(0.0, 1.0), (1.0, 2.0), (2.5, 3.0)], 4.0, 8)
        array([4, 0, 4, 4, 0, 7, 0, 0])
    """
    at_T = (np.arange(moments) + 0.5) * seconds / moments
    found_T = np.full(moments, PAD, np.int64)
    before = (PAD, -1)  # the unit before, and its last moment
    for unit, (start, end) in zip(units, places, strict=True):
        (within,) = np.nonzero((at_T >= start) & (at_T < end))
        if not len(within):
            continue
        found_T[within] = unit
        if before == (unit, within[0] - 1):
            found_T[before[1]] = PAD
        before = unit, int(within[-1])
    return found_T


def align(log_probs_TV: np.ndarray, text: list[int]) -> list[tuple[int, int]]:
    """Return for each unit of a text the first moment that it was read at, and the one behind its last.

    It is the likeliest way through the text with blanks between its units (Viterbi 1967).

    Example:
        >>> likely = np.log(np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]]))
        >>> align(likely, [1, 2])
        [(1, 2), (3, 4)]
    """
    states = np.zeros(2 * len(text) + 1, np.int64)  # blank, unit, blank, unit, ..., blank
    states[1::2] = text
    skips = np.zeros(len(states), bool)  # where the blank between two units may be left out
    skips[3::2] = states[3::2] != states[1:-2:2]
    best_S = np.full(len(states), NEVER)
    best_S[:2] = log_probs_TV[0, states[:2]]
    came_TS = np.zeros((len(log_probs_TV), len(states)), np.int8)
    for moment in range(1, len(log_probs_TV)):
        one = np.concatenate([[NEVER], best_S[:-1]])
        two = np.where(skips, np.concatenate([[NEVER, NEVER], best_S[:-2]])[: len(states)], NEVER)
        ways = np.stack([best_S, one, two])
        came_TS[moment] = ways.argmax(0)
        best_S = ways.max(0) + log_probs_TV[moment, states]
    return _spans(came_TS, _last(best_S), len(text))


def _last(best_S: np.ndarray) -> int:
    """Return the state that a text ends in: its last unit, or the blank behind it."""
    end = len(best_S) - 1
    return end - 1 if end and best_S[end - 1] >= best_S[end] else end


def _spans(came_TS: np.ndarray, state: int, units: int) -> list[tuple[int, int]]:
    """Walk back from the last state, and return which moments were spent in each unit."""
    spans = [(0, 0)] * units
    for moment in range(len(came_TS) - 1, -1, -1):
        if state % 2:
            behind = spans[state // 2][1] or moment + 1
            spans[state // 2] = (moment, behind)
        state -= int(came_TS[moment, state])
    return spans
