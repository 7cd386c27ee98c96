"""What stood there before a retraining, which its report compares with.

The versions are kept on the disk until the report is out: what a killed run registered is told by the next.
"""

import csv
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from flows.graph.experiments import experiments
from stages.base.store import SCRATCH, write_json

CURVES = "artifacts/evaluate/{name}/curves.csv"
KEPT = SCRATCH / "retraining.json"


@dataclass(frozen=True)
class Before:
    """By experiment, the number of the last reported version (None: there was none) and the curves."""

    versions: dict[str, int | None] = field(default_factory=dict)
    curves: dict[str, list[dict[str, str]]] = field(default_factory=dict)


def keep_before(root: Path, names: Collection[str]) -> Before:
    """Keep what a run of these experiments is about to replace; of versions, what a killed run has kept holds."""
    there = {experiment.name: experiment.version.get("version") for experiment in experiments(root)}
    versions = {name: there.get(name) for name in names} | _kept(root)
    (root / KEPT).parent.mkdir(exist_ok=True)
    write_json(root / KEPT, versions)
    return Before(versions, {name: read_curves(root, name) for name in names})


def is_unreported(root: Path, names: Collection[str]) -> bool:
    """Return whether a run of one of these experiments was killed before its report."""
    return not _kept(root).keys().isdisjoint(names)


def forget_before(root: Path, names: Collection[str]) -> None:
    """Forget what was kept of these experiments: their report is out."""
    left = {name: number for name, number in _kept(root).items() if name not in names}
    if left:
        write_json(root / KEPT, left)
    else:
        (root / KEPT).unlink(missing_ok=True)


def _kept(root: Path) -> dict[str, int | None]:
    path = root / KEPT
    return json.loads(path.read_text(encoding="utf8")) if path.exists() else {}


def read_curves(root: Path, name: str) -> list[dict[str, str]]:
    """Return the epochs of an experiment's training; none where it was not evaluated."""
    path = root / CURVES.format(name=name)
    if not path.exists():
        return []
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))
