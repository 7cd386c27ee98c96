"""Search without an index: every vector is compared, a block at a time, so that memory stays flat.

Shapes: N vectors, Q queries, D width, B vectors of a block.
"""

from collections.abc import Sequence

import numpy as np
import torch

BLOCK = 16_384  # vectors: 8 MB where they are 128 wide
NOWHERE = -1  # the place of a result that there is not

Found = tuple[
    np.ndarray, np.ndarray
]  # scores and places (Q, k), best first; -inf and `NOWHERE` where there are no more


def best_by_blocks(
    vectors_ND: np.ndarray, queries_QD: np.ndarray, k: int, without: Sequence[np.ndarray] = (), block: int = BLOCK
) -> Found:
    """Return the vectors with the largest inner product with each query; of equals the first.

    Args:
        vectors_ND: Of float32; memory-mapped, as may be.
        queries_QD: What is looked for.
        k: How many results each query has.
        without: For each query, the places that are left out; nothing stands for none.
        block: How many vectors are compared at once.
    """
    num_queries = len(queries_QD)
    scores_Qk, places_Qk = np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), NOWHERE)
    for at in range(0, len(vectors_ND), block):
        block_BD = torch.from_numpy(vectors_ND[at : at + block])  # torch keeps to `base.threads`
        scores_QB = (torch.from_numpy(queries_QD) @ block_BD.T).numpy()
        for i, scores_B in enumerate(scores_QB):
            if len(without):
                inside = without[i][(without[i] >= at) & (without[i] < at + len(scores_B))] - at
                scores_B[inside] = -np.inf
            better = np.flatnonzero(scores_B > scores_Qk[i, -1])
            scores = np.concatenate([scores_Qk[i], scores_B[better]])
            order = first_of_best(scores, k)
            scores_Qk[i] = scores[order]
            places_Qk[i] = np.concatenate([places_Qk[i], better + at])[order]
    return scores_Qk, places_Qk


def first_of_best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k largest, largest first; of equals the first.

    >>> first_of_best(np.array([1.0, 3.0, 2.0, 3.0, 2.0]), 3)
    array([1, 3, 2])
    """
    if len(scores) > k:
        near = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # sorting all would take longer than comparing
        return near[np.argsort(-scores[near], kind="stable")[:k]]
    return np.argsort(-scores, kind="stable")
