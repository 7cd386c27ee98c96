"""The order of DVC's stages: each with those that it reads from."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.graph.dvc_stages import StageError
from flows.graph.inputs import check_inputs
from flows.graph.mending import mend


def dependencies(root: Path | str) -> dict[str, list[str]]:
    """Return the address of every stage with those of the stages it reads from, in topological order.

    Stages that could run side by side stand as dvc.yaml and params.yaml have them. Raises `StageError` when DVC
    cannot read the graph, or what it is to watch.
    """
    with _opened(root) as repo:
        return _graph(repo)


def dependencies_and_changed(root: Path | str) -> tuple[dict[str, list[str]], set[str]]:
    """Return what `dependencies` does, and the stages that have changed since they ran, those after them left out."""
    with _opened(root) as repo:
        addresses = {stage.addressing: _address(stage, repo.root_dir) for stage in repo.index.stages}
        return _graph(repo), {addresses[found] for found in repo.status()}


def order_lock(root: Path | str, names: Iterable[str]) -> None:
    """Put the entries of dvc.lock in the order of these stages; DVC adds each when it has run, whichever that is."""
    from dvc.utils.serialize import modify_yaml

    path = Path(root) / "dvc.lock"
    if not path.exists():
        return
    with _opened(root) as repo, repo.lock, modify_yaml(str(path)) as lock:
        entries = lock["stages"]
        for name in [name for name in names if name in entries]:
            entries[name] = entries.pop(name)


@contextmanager
def _opened(root: Path | str) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    check_inputs(Path(root))
    mend(root)
    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        raise StageError("dvc", ": ".join(str(e) for e in (error, error.__cause__) if e)) from error


def _graph(repo: Any) -> dict[str, list[str]]:
    import networkx

    graph = repo.index.graph  # an arrow points from a stage to one that it reads from
    names = {stage: _address(stage, repo.root_dir) for stage in graph}
    places = {stage: place for place, stage in enumerate(repo.index.stages)}
    order = networkx.lexicographical_topological_sort(graph.reverse(), key=places.__getitem__)
    return {names[stage]: sorted(names[before] for before in graph.successors(stage)) for stage in order}


def stage_names(root: Path | str) -> list[str]:
    """Return the address of every stage, each after the stages it reads from."""
    return list(dependencies(root))


def select(graph: dict[str, list[str]], targets: Iterable[str] | None) -> dict[str, list[str]]:
    """Return the part of the graph that `targets` need, in the same order; without targets, all of it.

    Raises:
        ValueError: A target is no stage.
    """
    if not targets:
        return graph
    wanted: set[str] = set()
    for target in targets:
        hits = {name for name in graph if target in (name, name.partition("@")[0])}
        if not hits:
            raise ValueError(f"no stage is called {target!r}; there are: {', '.join(graph)}")
        wanted |= hits
    for name in reversed(graph):
        if name in wanted:
            wanted.update(graph[name])
    return {name: before for name, before in graph.items() if name in wanted}


def _address(stage: Any, root: str) -> str:
    """Return what `dvc repro` calls a stage in `root`; its own `addressing` goes by the current folder."""
    path = os.path.relpath(stage.path, root)
    name = getattr(stage, "name", None)
    if name is None:
        return path
    return name if path == "dvc.yaml" else f"{path}:{name}"
