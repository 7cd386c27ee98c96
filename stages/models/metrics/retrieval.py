"""Retrieval in a shared space, such as of images and texts: ranks, recall at k and median rank.

Shapes: Q queries, N items to rank, D dim. Every query and every item has an owner, the sample that it is of; an
item is relevant to a query of the same owner. Of several relevant items the best ranked counts.
"""

from collections.abc import Iterator
from math import comb

import numpy as np

RECALL_AT = (1, 5, 10)
BLOCK_CELLS = 2**22  # of the similarity matrix, in memory at a time


def ranks(similarity_QN: np.ndarray, owner_Q: np.ndarray, owner_N: np.ndarray) -> np.ndarray:
    """Return for each query the rank of its best relevant item, shape (Q,); 1 is best.

    An item is relevant if its owner is the query's. Ties count against the model: irrelevant items that are as
    similar as the best relevant one stand before it, so a model that finds all alike comes last.

    Raises:
        ValueError: A query has no relevant item, or a similarity is not a finite number.

    Example:
        The second query finds its item (0.4) behind one that is better and one as good:

        >>> ranks(np.array([[0.9, 0.1, 0.3], [0.4, 0.4, 0.8]]), np.array([0, 1]), np.array([0, 1, 2]))
        array([1, 3])
    """
    if not np.isfinite(similarity_QN).all():
        raise ValueError("similarities hold values that are not finite numbers: they cannot be ranked")
    relevant_QN = owner_Q[:, None] == owner_N
    alone = np.flatnonzero(~relevant_QN.any(axis=1))
    if len(alone):
        raise ValueError(f"owner {owner_Q[alone[0]]} has no item to find: every query needs at least one")
    best_Q1 = np.where(relevant_QN, similarity_QN, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((similarity_QN >= best_Q1) & ~relevant_QN).sum(axis=1)


def recall_at(ranks_Q: np.ndarray, k: int) -> float:
    """Return the fraction of queries with a relevant item among the first k.

    Example:
        >>> recall_at(np.array([1, 3, 6, 2]), k=5)
        0.75
    """
    return float((ranks_Q <= k).mean())


def rank_metrics(way: str, ranks_Q: np.ndarray) -> dict[str, float]:
    """Return `<way>_recall_at_1`, `_5` and `_10`, fractions, and `<way>_median_rank`.

    Raises:
        ValueError: There is no query.

    Example:
        >>> rank_metrics("image_to_text", np.array([1, 2, 7]))["image_to_text_recall_at_5"]
        0.6666666666666666
    """
    if not len(ranks_Q):
        raise ValueError(f"{way}: no query has anything to find")
    scores = {f"{way}_recall_at_{k}": recall_at(ranks_Q, k) for k in RECALL_AT}
    return scores | {f"{way}_median_rank": float(np.median(ranks_Q))}


def expected_recalls(way: str, misfits_QN: np.ndarray, own_QN: np.ndarray) -> dict[str, float]:
    """Return `<way>_recall_at_1`, `_5` and `_10` where items come by how little they misfit, equal ones at random.

    Queries without an item of their own ask nothing. Of n equal items of which o are the query's own, r of them are
    none of these with the chance C(n - o, r) / C(n, r).

    Example:
        The first query finds one of two equal items at once, the second its only one behind two others:

        >>> misfits = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        >>> expected_recalls("x", misfits, np.array([[True, False, False], [False, False, True]]))["x_recall_at_1"]
        0.25
    """
    chances: dict[int, list[float]] = {k: [] for k in RECALL_AT}
    for misfits_N, own_N in zip(misfits_QN, own_QN, strict=True):
        if own_N.any():
            best = misfits_N[own_N].min()
            equal, before = misfits_N == best, int((misfits_N < best).sum())
            total, other = int(equal.sum()), int((equal & ~own_N).sum())
            for k, found in chances.items():
                room = max(0, min(k - before, total))
                found.append(1 - comb(other, room) / comb(total, room))
    return {f"{way}_recall_at_{k}": float(np.mean(found)) for k, found in chances.items()}


def rank_all(queries_QD: np.ndarray, items_ND: np.ndarray, owner_Q: np.ndarray, owner_N: np.ndarray) -> np.ndarray:
    """Return for each query the rank of its best relevant item by cosine similarity, shape (Q,); see `ranks`.

    A block of queries at a time, so that memory stays bounded.

    Raises:
        ValueError: A query has no relevant item, or an embedding is not finite.

    Example:
        >>> rank_all(np.eye(3), np.eye(3)[[0, 0, 2]], np.array([0, 1, 2]), np.array([0, 1, 2]))
        array([2, 3, 1])
    """
    queries_QD, items_ND = _normalised(queries_QD), _normalised(items_ND)
    blocks = _blocks(len(queries_QD), len(items_ND))
    found = [ranks(_similarity(queries_QD[block], items_ND), owner_Q[block], owner_N) for block in blocks]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _normalised(x_ND: np.ndarray) -> np.ndarray:
    """Return float64 vectors of length 1; a zero vector stays one, alike to nothing."""
    x_ND = x_ND.astype(np.float64)
    return x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _similarity(queries_QD: np.ndarray, items_ND: np.ndarray) -> np.ndarray:
    """Multiply in float64 and round to float32: what should be equal is, whatever the order of summing."""
    return (queries_QD @ items_ND.T).astype(np.float32)


def _blocks(num_queries: int, num_items: int) -> Iterator[slice]:
    size = max(1, BLOCK_CELLS // max(1, num_items))
    for start in range(0, num_queries, size):
        yield slice(start, start + size)
