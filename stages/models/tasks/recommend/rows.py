"""The rows beside a recommender: popularity, means, and a matrix factorisation that sees no media.

Shapes: N items, U users, A users who are asked about, F factors. All learn from the ratings in training alone.
"""

import numpy as np

from stages.models.metrics.recommendation import rating_metrics
from stages.models.tasks.recommend.judging import lists, people
from stages.models.tasks.recommend.rated import Rated

DAMPING = 5.0  # ratings that a mean is pulled to the mean of all by
ROUNDS, FACTORS, SEED = 10, 32, 0
STRENGTHS = (0.03, 0.1, 0.3)  # of regularisation per rating, of explicit feedback; the best on validation is kept
WEIGHTS = (3.0, 10.0, 30.0)  # of what is liked against what is not, of implicit feedback


def popularity(rated: Rated, liked: float) -> np.ndarray:
    """Return how often each item is liked in training, the same for everyone, (A, N)."""
    return np.tile(times_liked(rated, liked), (len(rated.askers), 1))


def times_liked(rated: Rated, liked: float) -> np.ndarray:
    """Return how often each item is liked in training, (N,)."""
    chosen = rated.in_training & (rated.values_P >= liked)
    return np.bincount(rated.items_P[chosen], minlength=rated.num_items).astype(np.float64)


def means(rated: Rated) -> tuple[np.ndarray, np.ndarray]:
    """Return how far above the mean each item is, (N,), and above that each user rates, (U,); of few ratings, less."""
    chosen = rated.in_training
    items, users, left = rated.items_P[chosen], rated.users_P[chosen], rated.values_P[chosen] - rated.mean
    item_N = np.bincount(items, left, rated.num_items) / (np.bincount(items, minlength=rated.num_items) + DAMPING)
    left = left - item_N[items]
    size = len(rated.names)
    return item_N, np.bincount(users, left, size) / (np.bincount(users, minlength=size) + DAMPING)


def item_means(rated: Rated) -> np.ndarray:
    """Return the mean of each item, moved by how the user rates, (A, N)."""
    item_N, user_U = means(rated)
    return rated.mean + user_U[rated.askers][:, None] + item_N[None, :]


def explicit_factors(rated: Rated, strength: float) -> np.ndarray:
    """Return the means with what factors add, by alternating least squares (Zhou et al. 2008), (A, N)."""
    item_N, user_U = means(rated)
    chosen = rated.in_training
    users, items = rated.users_P[chosen], rated.items_P[chosen]
    left = rated.values_P[chosen] - rated.mean - user_U[users] - item_N[items]
    rng = np.random.default_rng(SEED)
    user_UF, item_NF = np.zeros((len(user_U), FACTORS)), 0.1 * rng.normal(size=(len(item_N), FACTORS))
    for _ in range(ROUNDS):
        _solve(user_UF, item_NF, (users, items, left), strength)
        _solve(item_NF, user_UF, (items, users, left), strength)
    return item_means(rated) + user_UF[rated.askers] @ item_NF.T


def _solve(ours: np.ndarray, theirs: np.ndarray, numbers: tuple[np.ndarray, ...], strength: float) -> None:
    """Set each of our vectors to what explains its numbers best, given theirs; `numbers`: ours, theirs, the values."""
    own, other, values = numbers
    order = np.argsort(own, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(own[order])) + 1):
        seen = theirs[other[places]]
        ridge = strength * len(places) * np.eye(seen.shape[1])
        ours[own[places[0]]] = np.linalg.solve(seen.T @ seen + ridge, seen.T @ values[places])


def implicit_factors(rated: Rated, liked: float, weight: float) -> np.ndarray:
    """Return the scores of weighted alternating least squares over all pairs (Hu et al. 2008), (A, N)."""
    chosen = rated.in_training & (rated.values_P >= liked)
    users, items = rated.users_P[chosen], rated.items_P[chosen]
    rng = np.random.default_rng(SEED)
    user_UF = np.zeros((len(rated.names), FACTORS))
    item_NF = 0.1 * rng.normal(size=(rated.num_items, FACTORS))
    for _ in range(ROUNDS):
        _weigh(user_UF, item_NF, users, items, weight)
        _weigh(item_NF, user_UF, items, users, weight)
    return user_UF[rated.askers] @ item_NF.T


def _weigh(ours: np.ndarray, theirs: np.ndarray, own: np.ndarray, other: np.ndarray, weight: float) -> None:
    """Set each of our vectors to what tells liked from the rest best, given theirs; nothing liked, no vector."""
    ours[:] = 0.0
    all_FF = theirs.T @ theirs + np.eye(theirs.shape[1])
    order = np.argsort(own, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(own[order])) + 1) if len(order) else ():
        seen = theirs[other[places]]
        ours[own[places[0]]] = np.linalg.solve(all_FF + weight * seen.T @ seen, (1 + weight) * seen.sum(0))


def best_explicit(val: Rated, test: Rated) -> np.ndarray:
    """Return the factors' ratings with the strength that is best on validation, (A, N)."""

    def score(strength: float) -> float:
        scores_AN = explicit_factors(val, strength)
        found = list(people(val, scores_AN, np.inf))
        predicted, expected = (np.concatenate([getattr(p, kind) for p in found]) for kind in ("predicted", "values"))
        return rating_metrics(predicted, expected, val.mean)["r2"]

    return explicit_factors(test, max(STRENGTHS, key=score))


def best_implicit(val: Rated, test: Rated, liked: float) -> np.ndarray:
    """Return the factors' scores with the weight that is best on validation, (A, N)."""

    def score(weight: float) -> float:
        return lists(list(people(val, implicit_factors(val, liked, weight), liked)), val)["ndcg_at_10"]

    return implicit_factors(test, liked, max(WEIGHTS, key=score))
