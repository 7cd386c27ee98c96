"""Ordered maps that work ahead by a bounded number: over threads, or over processes where Python itself is the work."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from stages.base.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """Yield `function(item)` in order, at most `ahead` results waiting; an exception reaches the caller."""
    with ThreadPoolExecutor(workers) as pool:
        yield from _in_order(pool, function, items, ahead)


def in_processes(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield `function(item)` in order, made by new processes; by this one where one would be enough.

    At most two results a process wait. Function, items and results are pickled.

    Raises:
        InputError: when one of the processes was killed.
    """
    workers = min(workers, len(items))
    if workers < 2:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker) as pool:
        try:
            yield from _in_order(pool, function, items, 2 * workers)
        except BrokenProcessPool:
            raise InputError(
                f"one of {workers} processes at work was killed from outside, as the system does when memory is short; "
                "free some and run the stage again"
            ) from None


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last of what is left; `itertools.batched` comes with Python 3.12."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _start_worker() -> None:
    """End without a word at Ctrl-C, which reaches every process of a terminal, and when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "runs in workers alone"
    parent.join()
    os._exit(1)
