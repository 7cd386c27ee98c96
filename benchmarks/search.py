"""Answers from a million made items: by the kept index of `register`, against exact search by blocks.

The items are unit vectors of many kinds, in a space of few dimensions that is bent into the width asked for, as what
encoders make is; queries are others of the same. Both contenders read the same memory-mapped file and answer the same
queries, one at a time and 32 together.

Run: `python -m benchmarks.search`, for a million items of width 128; it needs 1 GB of disk
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil

from benchmarks.timing import CONSOLE, bench_parser, show, show_machine, take_turns
from stages.base.device import set_up
from stages.models.catalogue import Vectors, build_index
from stages.models.catalogue.exact import best_by_blocks
from stages.models.catalogue.vectors import mapped
from stages.params import load_params
from stages.params.cli import main

SEED, KINDS, INNER, MADE = 0, 1000, 32, 100_000
BATCH, K, ASKED = 32, 10, 1000
MB = 1e6


def write_made(path: Path, items: int, width: int) -> np.ndarray:
    """Write made items; return other vectors to ask with."""
    rng = np.random.default_rng(SEED)
    kinds = rng.standard_normal((KINDS, INNER), np.float32)
    bend = rng.standard_normal((INNER, width), np.float32) / np.float32(np.sqrt(INNER))

    def made(number: int) -> np.ndarray:
        inner = kinds[rng.integers(KINDS, size=number)] + 0.7 * rng.standard_normal((number, INNER), np.float32)
        vectors = np.tanh(inner @ bend) + 0.1 * rng.standard_normal((number, width), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    file = np.lib.format.open_memmap(path, "w+", np.float32, (items, width))
    for at in range(0, items, MADE):
        file[at : at + MADE] = made(len(file[at : at + MADE]))
    return made(ASKED)


def apart(function: Callable[..., None], *args: Any) -> float:
    """Call a function in a process of its own; return the MB of memory that it took at its peak, file pages aside."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, *args))


def _measured(function: Callable[..., None], *args: Any) -> float:
    before = psutil.Process().memory_info()
    function(*args)
    after = psutil.Process().memory_info()
    files = (after.shared - before.shared) / MB  # pages of mapped files, which the system takes back when it wants
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB - before.rss / MB - files


def ask_all(path: Path, queries: np.ndarray) -> None:
    """Open items as a server does, and answer."""
    Vectors.open(path).best(queries, K)


def recall(path: Path, queries: np.ndarray) -> float:
    """Return the share of the ten best of exact search that are found."""
    exact, found = best_by_blocks(mapped(path), queries, K)[1], Vectors.open(path).best(queries, K)[1]
    return float(np.mean([np.isin(wanted, near).mean() for wanted, near in zip(exact, found, strict=True)]))


def measure(items: int, width: int, least: float, rounds: int) -> None:
    """Measure building, files, memory, answers a second and recall."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        queries = write_made(path, items, width)
        start = time.perf_counter()
        peak = apart(build_index, path, queries[BATCH : BATCH + 200], least)
        took = time.perf_counter() - start
        sizes = {part.suffix: part.stat().st_size / MB for part in Path(folder).iterdir()}
        CONSOLE.print(f"faiss     {faiss.__version__}")
        CONSOLE.print(f"built     in {took:.1f} s with its recall, {peak:.0f} MB at the peak")
        CONSOLE.print(f"files     vectors {sizes['.npy']:.0f} MB, index {sizes['.faiss']:.0f} MB")
        CONSOLE.print(f"opened    and asked in {apart(ask_all, path, queries[:BATCH]):.0f} MB")
        CONSOLE.print(f"recall@10 {recall(path, queries[-500:]):.4f} of exact, 500 queries that the build has not seen")
        exact, index = Vectors(mapped(path)), Vectors.open(path)
        asked, each = queries[:BATCH], [queries[i : i + 1] for i in range(BATCH)]
        one_by_one = take_turns(
            {name: lambda found=found: [found.best(q, K) for q in each] for name, found in _both(exact, index)}, rounds
        )
        show(f"one at a time, {items:,} items of width {width}", one_by_one, (BATCH, "answer"))
        together = take_turns(
            {name: lambda found=found: found.best(asked, K) for name, found in _both(exact, index)}, rounds
        )
        show(f"{BATCH} together", together, (BATCH, "answer"))


def _both(exact: Vectors, index: Vectors) -> list[tuple[str, Vectors]]:
    return [("exact by blocks", exact), ("index", index)]


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("search", __doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    show_machine(set_up(*params.base.hardware()))
    measure(args.items, args.width, params.register_.index_recall, args.rounds)


if __name__ == "__main__":
    main(command)
