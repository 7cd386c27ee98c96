"""Losses in which rare classes count: weights by how often a class occurs, and a focus on what is still wrong.

With weights of None and a focus of 0 they are the plain ones. Source of the focus: Lin et al. 2017, "Focal loss",
section 3. Shapes: B samples, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def balanced(counts: Tensor) -> Tensor:
    """Return each class's weight, by which all count alike and the mean sample counts 1; 0 for one without samples.

    >>> balanced(torch.tensor([6.0, 2.0]))
    tensor([0.6667, 2.0000])
    """
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp_min(1)), torch.zeros_like(counts))


def class_loss(
    logits_BC: Tensor, targets_B: Tensor, weights_C: Tensor | None, focus: float, smoothing: float = 0.0
) -> Tensor:
    """Return the mean cross entropy of those with a target (not -1), weighed and focused."""
    chosen = targets_B >= 0
    if not chosen.any():
        return logits_BC.sum() * 0.0
    logits, targets = logits_BC[chosen].float(), targets_B[chosen]
    weights = None if weights_C is None else weights_C.float()
    if not focus:
        return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing)
    each = F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="none")
    right = logits.softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    total = len(targets) if weights is None else weights[targets].sum()
    return ((1 - right) ** focus * each).sum() / total


def tag_loss(logits_BC: Tensor, truth_BC: Tensor, weights_C2: Tensor | None, focus: float) -> Tensor:
    """Return the mean binary cross entropy; the weights are those of a tag that is not there, and of one that is."""
    logits = logits_BC.float()
    each = F.binary_cross_entropy_with_logits(logits, truth_BC, reduction="none")
    if focus:
        chance = logits.sigmoid()
        each = each * (1 - torch.where(truth_BC > 0, chance, 1 - chance)) ** focus
    if weights_C2 is not None:
        each = each * torch.where(truth_BC > 0, weights_C2[:, 1], weights_C2[:, 0]).float()
    return each.mean()
