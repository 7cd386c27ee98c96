"""Stages side by side: each lane a DVC of its own, which runs a chain of stages that can only follow one another.

DVC keeps its lock of the project free while a stage's command runs, and guards what each stage reads and writes, so
several may be at work in one project.
"""

import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.graph.dvc_stages import StageRun, follow, stage_that_begins
from flows.graph.sessions import end_all_sessions
from stages.base.parallel import usable_cores

LANE_BYTES = 3 << 30  # that a training of a default preset may hold, and its evaluation with MLflow
DEFAULT_THREADS = 2
HINTS = "To track the changes with git, run:"  # the first of DVC's last lines, the same after each chain

Graph = dict[str, list[str]]
"""Each stage with those that it reads from, in topological order."""
Chain = tuple[str, ...]
"""Stages that one DVC runs one after another."""


def lane_count(root: Path) -> int:
    """Return how many stages the machine can have at work: by cores, by memory, and one where there is a GPU to share.

    Cores are counted by `base.threads` of params.yaml, which is what a stage uses.
    """
    base = _base_params(root)
    if base.get("device", "auto") != "cpu" and shutil.which("nvidia-smi"):
        return 1
    threads = base.get("threads")
    threads = threads if isinstance(threads, int) and threads > 0 else DEFAULT_THREADS
    return max(1, min(usable_cores() // threads, psutil.virtual_memory().available // LANE_BYTES))


def _base_params(root: Path) -> dict[str, Any]:
    """Return the section `base`; nothing where it cannot be read, which a stage then says."""
    try:
        raw = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf8"))
        return dict(raw["base"])
    except (OSError, YAMLError, ValueError, KeyError, TypeError):
        return {}


def touched(graph: Graph, changed: Collection[str]) -> Graph:
    """Return the part of a graph that has changed, or reads from what has."""
    found: Graph = {}
    for name, before in graph.items():
        if name in changed or not found.keys().isdisjoint(before):
            found[name] = [other for other in before if other in found]
    return found


def chains(graph: Graph) -> list[Chain]:
    """Join the stages that nothing could run beside: one that alone follows another, and waits for nothing else."""
    above = _above(graph)
    below = {name: {other for other in graph if name in above[other]} for name in graph}
    found: list[list[str]] = []
    for name in graph:
        for chain in found:
            last = chain[-1]
            if last in graph[name] and below[last] == {name} | below[name] and above[name] <= above[last] | {last}:
                chain.append(name)
                break
        else:
            found.append([name])
    return [tuple(chain) for chain in found]


def _above(graph: Graph) -> dict[str, set[str]]:
    """Return each stage with all that must be done before it."""
    above: dict[str, set[str]] = {}
    for name, before in graph.items():
        above[name] = set(before).union(*(above[other] for other in before))
    return above


def _by_followers(graph: Graph) -> list[Chain]:
    """Return the chains, those that the most stages wait for first."""
    above = _above(graph)
    return sorted(chains(graph), key=lambda chain: -sum(chain[-1] in before for before in above.values()))


@dataclass(frozen=True)
class Listener:
    """Who is told of stages at work; it is called by one lane at a time."""

    on_line: Callable[[str, str], None]
    """Gets the stage at work and each line of it."""
    on_stage_done: Callable[[StageRun], None]
    """Gets each stage as soon as DVC is done with it."""
    on_progress: Callable[[str, float], None] | None = None
    """Gets a stage's address and a fraction of 1; without it stages are not asked for their progress."""


def run_in_lanes(root: Path, graph: Graph, lanes: int, listener: Listener) -> list[StageRun]:
    """Run the stages of a graph, as many chains as `lanes` at once, and return them in the order in which they ended.

    Stages outside of the graph are left alone. When one fails, no other begins and those at work go on to their end.

    Raises:
        StageError: The stage that failed first.
    """
    runs: list[StageRun] = []
    lock = threading.Lock()
    begun: list[Future[None]] = []
    with ThreadPoolExecutor(lanes) as pool:

        def begin(chain: Chain) -> Future[None]:
            begun.append(pool.submit(_follow_chain, root, chain, listener, runs, lock))
            return begun[-1]

        try:
            error = _in_order(graph, lanes, begin)
        except BaseException:
            while not all(future.cancel() or future.done() for future in begun):  # one may be about to start its DVC
                end_all_sessions()
                time.sleep(0.05)
            raise
    if error is not None:
        raise error
    return runs


def _follow_chain(root: Path, chain: Chain, listener: Listener, runs: list[StageRun], lock: threading.Lock) -> None:
    """Run the stages of a chain by one DVC; add each to `runs` and tell of it under the lock of all lanes."""
    at_work, is_hint = chain[0], False

    def said(line: str) -> None:
        nonlocal at_work, is_hint
        at_work, _ = stage_that_begins(line) or (at_work, None)
        is_hint = is_hint or line.startswith(HINTS)
        if not is_hint:
            with lock:
                listener.on_line(at_work, line)

    def ended(run: StageRun) -> None:
        with lock:
            runs.append(run)
            listener.on_stage_done(run)

    def progressed(name: str, fraction: float) -> None:
        assert listener.on_progress
        with lock:
            listener.on_progress(name, fraction)

    on_progress = progressed if listener.on_progress else None
    follow(root, ["repro", "--single-item", *chain], said, ended, on_progress)


def _in_order(graph: Graph, lanes: int, begin: Callable[[Chain], "Future[None]"]) -> BaseException | None:
    """Begin each chain when the stages that it waits for are done and a lane is free; return the first error."""
    waiting = {chain: {other for name in chain for other in graph[name]} - set(chain) for chain in _by_followers(graph)}
    ended: queue.Queue[tuple[Chain, Future[None]]] = queue.Queue()
    done: set[str] = set()
    at_work = 0
    error: BaseException | None = None
    while True:
        ready = [chain for chain, before in waiting.items() if before <= done] if error is None else []
        for chain in ready[: lanes - at_work]:
            del waiting[chain]
            at_work += 1
            begin(chain).add_done_callback(lambda future, chain=chain: ended.put((chain, future)))  # type: ignore[misc]
        if not at_work:
            return error
        chain, future = ended.get()
        at_work -= 1
        done.update(chain)
        error = error or future.exception()
