"""The kept index of many vectors: faiss's inverted lists. A query is compared with the vectors of the nearest lists.

Lists hold numbers of 16 bits; what they find is compared again with the vectors themselves. How many lists are looked
into is measured: the fewest that find what exact search finds. The same vectors give the same bytes: k-means has a
seed, and one thread builds. faiss is imported where there is an index, as it brings an OpenMP beside torch's.

Shapes: N vectors, Q queries, D width.
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from stages.base.errors import InputError
from stages.base.store import say, sha256_file, write_json
from stages.models.catalogue.exact import NOWHERE, Found, best_by_blocks, first_of_best
from stages.models.catalogue.rows import AGAIN

INDEX, ABOUT = ".faiss", ".index.json"  # suffixes, of files beside that of the vectors
K = 10  # of recall
NUM_QUERIES = 200  # that recall is measured with
SEED, ROUNDS, PER_LIST = 7, 10, 40  # of k-means, and vectors of each list that it learns from
ADDED = 65_536  # vectors at a time
SPARE = 2  # times as many as are wanted are compared again


@dataclass(frozen=True)
class Built:
    """What an index is, as it stands beside it."""

    vectors: int
    lists: int
    probes: int
    """Lists that a query is compared with."""
    recall_at_10: float
    """Of `queries` vectors like those that will be asked with, against exact search."""
    queries: int
    sha256: str

    def __str__(self) -> str:
        """Return it as people read it."""
        return (
            f"{self.vectors:,} by an index, recall@{K} {self.recall_at_10:.3f} against exact ({self.queries} queries, "
            f"{self.probes} of {self.lists} lists)"
        )


class Index:
    """An index in service."""

    def __init__(self, lists: Any, probes: int, vectors_ND: np.ndarray) -> None:
        """Take faiss's index and the vectors that it was built from."""
        self._lists, self._probes, self._vectors_ND = lists, probes, vectors_ND

    @classmethod
    def open(cls, path: Path, vectors_ND: np.ndarray) -> Self | None:
        """Map the index beside a file of vectors; None where none was built.

        Raises:
            InputError: when its file is missing or changed.
        """
        about, file = path.with_suffix(ABOUT), path.with_suffix(INDEX)
        if not about.exists() and not file.exists():
            return None
        for part in (about, file):
            if not part.exists():
                raise InputError(f"{part} is missing; {AGAIN}")
        try:
            built = Built(**json.loads(about.read_text(encoding="utf8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{about} is damaged ({error}); {AGAIN}") from None
        if sha256_file(file) != built.sha256:
            raise InputError(f"{file} is not what was built; {AGAIN}")
        faiss = _faiss()  # its other kind of map, of lists on a disk, starts threads at each query
        return cls(faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC), built.probes, vectors_ND)

    def best(self, query_D: np.ndarray, k: int, without: np.ndarray) -> Found:
        """Return the scores and places of the best vectors (k,), as exact search does; nearly always the same.

        Where the lists that are looked into hold too few, all vectors are compared.
        """
        scores, places = self.near(query_D, k, without)
        if len(places) < min(k, self._lists.ntotal - len(np.unique(without))):
            scores_1k, places_1k = best_by_blocks(self._vectors_ND, query_D[None], k, [without])
            return scores_1k[0], places_1k[0]
        return _filled(scores, k, -np.inf), _filled(places, k, NOWHERE)

    def near(self, query_D: np.ndarray, k: int, without: np.ndarray) -> Found:
        """Return the scores and places of the best vectors in the lists that are looked into, k or fewer."""
        faiss = _faiss()
        left_out = {"sel": faiss.IDSelectorNot(faiss.IDSelectorBatch(without.astype(np.int64)))} if len(without) else {}
        looking = faiss.SearchParametersIVF(nprobe=self._probes, **left_out)
        wanted = min(SPARE * k, self._lists.ntotal)
        places = np.sort(self._lists.search(query_D[None], wanted, params=looking)[1][0])
        places = places[places > NOWHERE]
        scores = self._vectors_ND[places] @ query_D
        order = first_of_best(scores, k)
        return scores[order], places[order]


def build_index(path: Path, queries_QD: np.ndarray, recall: float) -> Built:
    """Build the index of a file of vectors, beside it; say so.

    Args:
        path: Of the vectors.
        queries_QD: Such as will be asked; as many lists are looked into as find what is near them.
        recall: The least share of the ten best of exact search that must be found.
    """
    start = time.perf_counter()
    faiss = _faiss()
    vectors_ND = np.load(path, mmap_mode="c", allow_pickle=False)
    num_vectors, width = vectors_ND.shape
    num_lists = 2 * math.isqrt(num_vectors)
    kind = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    lists = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, num_lists, *kind)
    lists.cp.seed, lists.cp.niter, lists.cp.spherical = SEED, ROUNDS, True
    lists.cp.min_points_per_centroid, lists.cp.max_points_per_centroid = 1, PER_LIST
    lists.train(vectors_ND)
    for at in range(0, num_vectors, ADDED):
        lists.add(vectors_ND[at : at + ADDED])
    seconds = time.perf_counter() - start
    faiss.write_index(lists, str(path.with_suffix(INDEX)))
    found = _probes(lists, vectors_ND, queries_QD, recall)
    built = Built(num_vectors, num_lists, *found, len(queries_QD), sha256_file(path.with_suffix(INDEX)))
    write_json(path.with_suffix(ABOUT), dataclasses.asdict(built))
    say(f"{path.stem}: {built}, built in {seconds:.1f} s")
    return built


def drawn(total: int) -> np.ndarray:
    """Return the numbers of those that recall is measured with, in order."""
    return np.sort(np.random.default_rng(SEED).choice(total, min(NUM_QUERIES, total), replace=False))


def _probes(lists: Any, vectors_ND: np.ndarray, queries_QD: np.ndarray, recall: float) -> tuple[int, float]:
    """Return the fewest lists, a power of 2 of them, that reach a recall; and the recall that they reach."""
    exact_QK = best_by_blocks(vectors_ND, queries_QD, K)[1]
    nothing = np.array([], np.int64)
    probes = 1
    while True:
        index = Index(lists, min(probes, lists.nlist), vectors_ND)
        found = [index.near(query_D, K, nothing)[1] for query_D in queries_QD]
        reached = float(np.mean([np.isin(exact, near).mean() for exact, near in zip(exact_QK, found, strict=True)]))
        if reached >= recall or probes >= lists.nlist:
            return min(probes, lists.nlist), reached
        probes *= 2


def _filled(values: np.ndarray, length: int, rest: float) -> np.ndarray:
    return np.pad(values, (0, length - len(values)), constant_values=rest)


def _faiss() -> Any:
    """Return faiss, kept to one thread: other numbers would gain little on a query, and round k-means otherwise."""
    import faiss

    faiss.omp_set_num_threads(1)  # of the thread that calls, so at each use
    return faiss
