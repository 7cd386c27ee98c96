"""What scores of all items for all users are worth: each user's ranks, lists and ratings, and metrics over users.

Shapes: A users who are asked about, N items.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.models.metrics.recommendation import K, ranking_metrics, ranks_among, top
from stages.models.tasks.recommend.rated import Rated

ACTIVITY = (0, 1, 20, 100)  # ratings in training from which on a user is in the next group
Choose = Callable[[int], np.ndarray]  # for the number of a user, which items (N,)


@dataclass(frozen=True)
class Person:
    """One user's test: items that were rated, how, which of them are liked, where they are ranked, what is advised."""

    user: int
    name: str
    items: np.ndarray  # numbers of all rated items that are asked about
    values: np.ndarray
    wanted: np.ndarray  # numbers of those that are liked
    ranks: np.ndarray  # of these
    advised: np.ndarray  # numbers of the first items, best first
    predicted: np.ndarray  # the scores of `items`
    activity: str


def people(rated: Rated, scores_AN: np.ndarray, liked: float) -> Iterator[Person]:
    """Yield what the scores are to each user, of the items that the user had not rated before."""
    seen_UN, asked = rated.seen(), rated.by_user(rated.asked)
    for user, scores_N in zip(rated.askers, scores_AN, strict=True):
        items, values = rated.items_P[asked[user]], rated.values_P[asked[user]]
        wanted = items[values >= liked]
        yield Person(
            int(user),
            str(rated.names[user]),
            items,
            values,
            wanted,
            ranks_among(scores_N, ~seen_UN[user], wanted),
            top(scores_N, ~seen_UN[user]),
            scores_N[items],
            activity_of(int(rated.activity[user])),
        )


def activity_of(ratings: int) -> str:
    """Name the group of a user by the ratings in training.

    >>> activity_of(0), activity_of(19), activity_of(250)
    ('0', '1-19', '100+')
    """
    place = max(i for i, least in enumerate(ACTIVITY) if ratings >= least)
    if place + 1 == len(ACTIVITY):
        return f"{ACTIVITY[place]}+"
    last = ACTIVITY[place + 1] - 1
    return str(last) if last == ACTIVITY[place] else f"{ACTIVITY[place]}-{last}"


def lists(found: Sequence[Person], rated: Rated) -> dict[str, Any]:
    """Return how the ranks are, also by activity, how much of the catalogue is advised, and how popular that is."""
    asking = [person for person in found if len(person.wanted)]
    advised = np.concatenate([person.advised for person in asking])
    groups = {person.activity: [p.ranks for p in asking if p.activity == person.activity] for person in asking}
    ordered = sorted(groups, key=lambda name: int(name.partition("-")[0].rstrip("+")))
    return {
        **ranking_metrics([person.ranks for person in asking]),
        f"coverage_at_{K}": len(np.unique(advised)) / rated.num_items,
        f"mean_popularity_at_{K}": float(rated.popularity[advised].mean()),
        f"ndcg_at_{K}_by_activity": {name: ranking_metrics(groups[name])[f"ndcg_at_{K}"] for name in ordered},
        "users_by_activity": {name: len(groups[name]) for name in ordered},
    }


def slice_of(rated: Rated, scores_AN: np.ndarray, liked: float, chosen: Choose) -> dict[str, float]:
    """Return the metrics of ranks among a part of the items alone, beside what a random order finds; {} without users.

    What is new stands behind what is known in nearly any list of everything, so it is compared with its like.
    """
    seen_UN, asked = rated.seen(), rated.by_user(rated.asked)
    ranks, chances = [], []
    for user, scores_N in zip(rated.askers, scores_AN, strict=True):
        allowed_N = chosen(int(user)) & ~seen_UN[user]
        items, values = rated.items_P[asked[user]], rated.values_P[asked[user]]
        wanted = items[(values >= liked) & allowed_N[items]]
        if len(wanted):
            ranks.append(ranks_among(scores_N, allowed_N, wanted))
            chances.append(min(1.0, K / allowed_N.sum()))
    if not ranks:
        return {}
    return {**ranking_metrics(ranks), f"chance_recall_at_{K}": float(np.mean(chances)), "num_users": len(ranks)}


def cold(rated: Rated) -> Choose:
    """Choose the items that nobody rated in training."""
    return lambda user: rated.popularity == 0


def of_new_media(rated: Rated, media: Sequence[frozenset[str]]) -> Choose:
    """Choose the items that have no medium in common with any that the user rated in training."""
    trained = rated.by_user(rated.in_training)

    def chosen(user: int) -> np.ndarray:
        known = frozenset().union(*(media[item] for item in rated.items_P[trained[user]]))
        return np.array([bool(known) and bool(found) and not found & known for found in media])

    return chosen
