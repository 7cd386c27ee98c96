"""Answers from a million made items: by the kept index of `register`, and by exact search by blocks.

The items are unit vectors of many kinds, in a space of few dimensions that is bent into the width asked for, as what
encoders make is; queries are others of the same. Both contenders read the same memory-mapped file and answer the same
queries, one at a time and 32 together.

Run: `python -m benchmarks.search`, for a million items of width 128; it needs 1 GB of disk
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil

from benchmarks.timing import CONSOLE, bench_parser, show, show_machine, take_turns
from stages.base.device import set_up
from stages.models.catalogue import Vectors, build_index, mapped
from stages.models.catalogue.exact import best_by_blocks
from stages.models.catalogue.index import NUM_QUERIES, K
from stages.params import load_params

SEED, KINDS, INNER, MADE = 0, 1000, 32, 100_000
BATCH, ASKED, UNSEEN = 32, 1000, 500
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


def apart(function: Callable[..., object], *args: Any) -> float:
    """Call a function in a process of its own; return the MB that it took at its peak, pages of mapped files aside."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, *args))


def _measured(function: Callable[..., object], *args: Any) -> float:
    before = peak = _own_mb()
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(function, *args)
        while not called.done():
            peak = max(peak, _own_mb())
            time.sleep(0.01)
    called.result()
    return peak - before


def _own_mb() -> float:
    """Return what this process holds beside pages of files, which the system takes back when it wants."""
    memory = psutil.Process().memory_info()
    return (memory.rss - memory.shared) / MB


def ask_all(path: Path, queries: np.ndarray) -> None:
    """Open items as a server does, and answer."""
    Vectors.open(path).best(queries, K)


def recall(path: Path, queries: np.ndarray) -> float:
    """Return the share of the ten best of exact search that are found."""
    exact, found = best_by_blocks(mapped(path), queries, K)[1], Vectors.open(path).best(queries, K)[1]
    return float(np.mean([np.isin(wanted, near).mean() for wanted, near in zip(exact, found, strict=True)]))


def measure(items: int, width: int, least: float, rounds: int) -> None:
    """Measure building, files, memory, recall and answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        queries = write_made(path, items, width)
        peak = apart(build_index, path, queries[BATCH : BATCH + NUM_QUERIES], least)
        sizes = {part.suffix: part.stat().st_size / MB for part in Path(folder).iterdir()}
        CONSOLE.print(f"faiss     {faiss.__version__}")
        CONSOLE.print(f"built     in {peak:.0f} MB at the peak, pages of mapped files aside")
        CONSOLE.print(f"files     vectors {sizes['.npy']:.0f} MB, index {sizes['.faiss']:.0f} MB")
        CONSOLE.print(f"opened    and asked in {apart(ask_all, path, queries[:BATCH]):.0f} MB, counted alike")
        CONSOLE.print(f"recall@10 {recall(path, queries[-UNSEEN:]):.4f} of exact, {UNSEEN} queries new to the build")
        exact, index = Vectors(mapped(path)), Vectors.open(path)
        for size in (1, BATCH):
            batches = [queries[at : at + size] for at in range(0, BATCH, size)]
            contenders = {"index": partial(ask, index, batches), "exact by blocks": partial(ask, exact, batches)}
            title = f"{items:,} items of width {width}, {size} at a time"
            show(title, take_turns(contenders, rounds), (BATCH, "answer"))


def ask(vectors: Vectors, batches: list[np.ndarray]) -> None:
    """Answer all batches."""
    for queries in batches:
        vectors.best(queries, K)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("search", __doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    show_machine(set_up(*params.base.hardware()))
    measure(args.items, args.width, params.register_.index_recall, args.rounds)
