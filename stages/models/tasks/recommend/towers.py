"""The users' tower, and what an item has beside its modalities.

Shapes: B items of a batch, P pairs of a user and an item, H places of a history, F fields of a user, V values of
each, D dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages.media.columns import MARK, Columns
from stages.models.encoders.base import EncoderSize, FeatureSpec
from stages.models.encoders.fields import MLP
from stages.models.fusions.base import VERY_LOW

SMALL = 0.1  # deviation of first vectors


def vectors(number: int, dim: int) -> nn.Embedding:
    """Return small vectors by number; there is one at least, so that nothing is empty."""
    table = nn.Embedding(max(1, number), dim)
    nn.init.normal_(table.weight, std=SMALL if dim > 1 else 0.0)
    return table


def looked_up(table: nn.Embedding, numbers: Tensor) -> Tensor:
    """Return the vectors of numbers, zeros for -1."""
    return table(numbers.clamp_min(0)).masked_fill((numbers < 0).unsqueeze(-1), 0.0)


def known_of(fields_PFV: Tensor) -> Tensor:
    """Tell of which users anything is told, (P,)."""
    return (fields_PFV[..., MARK] == 0).any(1)


class Who(NamedTuple):
    """Users: the numbers by which a model knows them, (P,), and what is told of them, (P, F, V), if it reads that."""

    numbers: Tensor
    fields: Tensor | None = None


class UserTower(nn.Module):
    """A user's own vector, what is told of the user, and attention over the items that the user liked.

    The user's vector asks, so that two users with one history may look at different parts of it; a place has a weight
    of its own, as the latest may tell more.
    """

    def __init__(self, num_users: int, dim: int, history: int, told: Columns | None = None) -> None:
        """Make the parts; `num_users` 0 is without vectors of their own, `history` 0 without a history."""
        super().__init__()
        self.number = vectors(num_users, dim) if num_users else None
        self.fields = None
        if told:
            spec = FeatureSpec(told.shape, cardinalities=told.cardinalities)
            out = nn.Linear(dim, dim, bias=False)
            nn.init.normal_(out.weight, std=SMALL * dim**-0.5)
            self.fields = nn.Sequential(MLP(spec, EncoderSize(dim, 1, 1, 0.0)), out)
        self.history = history
        if history:
            self.ask, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)  # keys are the items' vectors themselves
            self.place_H = nn.Parameter(torch.zeros(history + 1))

    def forward(self, who: Who, history_PHD: Tensor, real_PH: Tensor, rate: float = 0.0) -> Tensor:
        """Return (P, D); zeros of whom nothing is known. `rate`: the chance that a part is left out, in training."""
        users_P = who.numbers
        there_2P = torch.rand(2, len(users_P), device=users_P.device) >= rate
        out_PD = history_PHD.new_zeros(len(users_P), history_PHD.shape[-1])
        if self.number is not None:
            out_PD = looked_up(self.number, torch.where(there_2P[0], users_P, -1))
        if self.fields is not None and who.fields is not None:
            told_P = torch.rand(len(users_P), device=users_P.device) >= rate
            told_P &= known_of(who.fields)
            out_PD = out_PD + self.fields(who.fields).squeeze(1) * told_P.unsqueeze(1)
        if self.history:
            real_PH = real_PH & there_2P[1].unsqueeze(1)
            scores_PH = (history_PHD @ self.ask(out_PD).unsqueeze(-1)).squeeze(-1) * out_PD.shape[-1] ** -0.5
            scores_PH = (scores_PH + self.place_H[: real_PH.shape[1]]).masked_fill(~real_PH, VERY_LOW)
            read_PD = self.value((scores_PH.softmax(-1).unsqueeze(1) @ history_PHD).squeeze(1))
            out_PD = out_PD + read_PD.masked_fill(~real_PH.any(1, keepdim=True), 0.0)
        return out_PD.float()
