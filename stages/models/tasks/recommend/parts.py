"""What a score is made of: by how much it falls where a part of what is known of the item or the user is left out.

Parts act together, so they need not add up to the score; what is left without any of them is how liked an item is.

Shapes: B users who are asked for, K items shown to each, N items, H places of what is liked, D dim, E D + 1: an item's
appeal stands behind its vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.base.store import USER_FIELDS
from stages.models.tasks.recommend.rated import NONE
from stages.models.tasks.recommend.towers import Who, known_of

USER, LIKED, GIVEN = "user", "liked", "given"  # of who is asked for: the own vector, liked items, media or a text
Placed = tuple[Tensor, Tensor]  # vectors (N, D) and appeal (N,)
Reading = Callable[[Who, Tensor, Tensor], tuple[Tensor, Tensor]]  # of `Asked`: vectors (B, E), usual scores (B,)


@dataclass(frozen=True)
class Asked:
    """Who is asked for: users (B,), vectors of what they like (B, H + 1, D), and which there are.

    The last place is for the media that are given.
    """

    users: Who
    told: Tensor
    real: Tensor

    def without(self) -> dict[str, tuple["Asked", Tensor]]:
        """Return by part who is asked for without it, and for whom of them it was there, (B,)."""
        history, media = torch.ones_like(self.real), torch.ones_like(self.real)
        history[:, :-1], media[:, -1] = False, False
        numbers, fields = self.users
        nobody = self.users._replace(numbers=torch.full_like(numbers, NONE))
        known = {} if fields is None else {USER_FIELDS: (replace(self, users=Who(numbers)), known_of(fields))}
        return {
            USER: (replace(self, users=nobody), numbers >= 0),
            **known,
            LIKED: (replace(self, real=self.real & history), self.real[:, :-1].any(1)),
            GIVEN: (replace(self, real=self.real & media), self.real[:, -1]),
        }


def gains(read: Reading, asked: Asked, shown_BKE: Tensor, without: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return by part how much of the score of each shown item is gone without it, (B, K); 0 where it was not there.

    `without` has the vectors of the shown items (B, K, E) where one of their modalities is left out.
    """

    def scores(who: Asked, where_BKE: Tensor) -> Tensor:
        vector_BE, usual_B = read(who.users, who.told, who.real)
        return (where_BKE @ vector_BE.unsqueeze(-1)).squeeze(-1) + usual_B.unsqueeze(1)

    whole_BK = scores(asked, shown_BKE)
    found = {name: whole_BK - scores(asked, left_BKE) for name, left_BKE in without.items()}
    for name, (other, there_B) in asked.without().items():
        found[name] = (whole_BK - scores(other, shown_BKE)) * there_B.unsqueeze(1)
    return found


def in_words(parts: Mapping[str, float]) -> str:
    """Write the parts of one score, the largest first.

    >>> in_words({"text": -0.25, "image": 0.5})
    'image +0.50, text -0.25'
    """
    return ", ".join(f"{name} {gain:+.2f}" for name, gain in sorted(parts.items(), key=lambda item: -item[1]))
