"""Pairs of a user and an item for training: which ratings a batch of items brings, and what is known beside them.

Shapes: N items of the pool, B items of a batch, P pairs, U users, H places of a history, F fields of a user, V values
of each.
"""

from typing import Any

import numpy as np

from stages.models.tasks.recommend.rated import NONE, Rated


def targets(
    rated: Rated,
    histories_UH: np.ndarray,
    least: float,
    numbers: tuple[np.ndarray, np.ndarray],
    told_UFV: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the ratings that are asked about, and the users' histories.

    Args:
        rated: The pool.
        histories_UH: The latest liked items of each user, one more than are looked at.
        least: The rating from which on a pair is learnt from.
        numbers: Those by which the model knows the pool's users, (U,), and items, (N,); -1 for none.
        told_UFV: What is told of the users, where the model reads that.
    """
    users_U, items_N = numbers
    asked = np.flatnonzero(rated.asked & (rated.values_P >= least))
    counts = np.bincount(rated.items_P[asked], minlength=rated.num_items)
    known = (rated.splits_P <= rated.asks) & (rated.values_P >= least)
    likes_UN = np.zeros((len(users_U), rated.num_items), bool)
    likes_UN[rated.users_P[known], rated.items_P[known]] = True
    return {
        "items": items_N,
        "starts": np.cumsum(counts) - counts,
        "counts": counts,
        "users": rated.users_P[asked],
        "values": rated.values_P[asked],
        "user_numbers": users_U,
        "histories": np.where(histories_UH >= 0, items_N[histories_UH], NONE),
        "likes": likes_UN,
        **({} if told_UFV is None else {"told": told_UFV}),
    }


def take(found: dict[str, np.ndarray], samples: np.ndarray, most: int | None, rng: Any) -> dict[str, np.ndarray]:
    """Return the pairs of a batch of items; of more than `most` so many are drawn."""
    counts, starts = found["counts"][samples], found["starts"][samples]
    own = np.repeat(np.arange(len(samples)), counts)  # which item of the batch
    places = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts, counts)
    if most is not None and len(own) > most:
        drawn = np.sort(rng.choice(len(own), most, replace=False))
        own, places = own[drawn], places[drawn]
    users = found["users"][places]
    numbers = found["items"][samples]
    return {
        "number": numbers,
        "pair_items": own,
        "pair_users": found["user_numbers"][users],
        "pair_values": found["values"][places],
        "pair_histories": without(found["histories"][users], numbers[own]),
        "pair_likes": found["likes"][users][:, samples],
        **({"pair_fields": found["told"][users]} if "told" in found else {}),
    }


def without(histories_PH: np.ndarray, items_P: np.ndarray) -> np.ndarray:
    """Return histories in which the item that is asked about does not stand; where it did not, the last is left out.

    >>> without(np.array([[5, 3, 4], [5, 3, 4]]), np.array([3, 9]))
    array([[ 5, -1,  4],
           [ 5,  3, -1]])
    """
    same_PH = histories_PH == items_P[:, None]
    same_PH[~same_PH.any(1), -1] = True
    return np.where(same_PH, NONE, histories_PH)
