"""The cells of a bench: each a DVC experiment in a clone that shares the project's cache, one after another.

The clone holds the working tree as it was at the start: one bench is one code, finished cells come out of the run
cache when a bench goes on, and the user's files are safe. `dvc exp run` puts uncommitted changes aside for a
moment, with --temp and --queue too, and a kill just then would leave them there; and the queue's worker outlives
Ctrl-C and runs whatever else is queued.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.bench.report import Result
from flows.graph.checkout import BRANCH, git, run_dvc
from stages.base.errors import InputError
from stages.base.store import MANIFEST, METRICS, artifact_path, write_json
from stages.params import NONE, Params, differing, variant_names

COSTS = "costs.json"  # seconds and peak MB of trainings by key; what the run cache brings back prints none
TRAIN_COST = re.compile(r"train .+: fitted in ([\d.]+) s, (\d+) MB at the peak$")


@dataclass(frozen=True)
class Row:
    """A line of the table: what it changes in params.yaml."""

    name: str
    changes: tuple[str, ...]
    is_fusion: bool


@dataclass(frozen=True)
class Bench:
    """One run of the bench: the experiment, its rows and seeds."""

    experiment: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    seed_key: str


def make_bench(params: Params, name: str, fusions: list[str], num_seeds: int) -> Bench:
    """Return what to run for an experiment of params.yaml; without `fusions`, all there are.

    Raises:
        InputError: when there is no such experiment or fusion, or it has a single modality.
    """
    if name not in params.experiments:
        raise InputError(f"experiments has no {name!r}; expected one of {', '.join(params.experiments)}")
    known = variant_names("models/fusions")
    if unknown := [fusion for fusion in fusions if fusion not in known]:
        raise InputError(f"--fusions: {', '.join(unknown)}; expected some of {', '.join(known)}")
    if num_seeds < 1:
        raise InputError(f"--seeds: got {num_seeds}; expected 1 or more")
    experiment = params.experiments[name]
    if len(experiment.encoded()) < 2:
        raise InputError(f"experiments.{name}: one modality with an encoder, so there is nothing to fuse")
    rows = [Row(fusion, (f"experiments.{name}.fusion={fusion}",), True) for fusion in fusions or known]
    seed_key = f"experiments.{name}.train.seed" if "seed" in experiment.train else "train.seed"
    return Bench(name, (*rows, *single_rows(params, name)), tuple(range(1, num_seeds + 1)), seed_key)


def single_rows(params: Params, name: str) -> Iterator[Row]:
    """Yield a row for each modality that the task can do with alone, or with its target alone.

    Where it then has nothing in common with the experiment that it starts from, it starts from nothing.
    """
    experiment = params.experiments[name]
    used, start = experiment.inputs.used(), params.experiments.get(experiment.init)
    target = getattr(experiment, "target", None)
    starting = [other for other, values in params.experiments.items() if values.init == name]
    for modality in used:
        left = {modality, *([target] if target else [])}
        able = left >= set(experiment.needs) and left & set(experiment.encoded())
        if modality != target and able and experiment.least <= len(left) < len(used):
            alone = start is not None and all(differing(experiment, start, kept) for kept in left)
            changes = [f"experiments.{name}.inputs.{other}={NONE}" for other in used if other not in left]
            changes += [f"experiments.{other}.init={NONE}" for other in [*([name] if alone else []), *starting]]
            yield Row(f"only_{modality}", tuple(changes), False)


def run_cell(clone: Path, bench: Bench, row: Row, seed: int) -> tuple[dict[str, Any], dict[str, Any], list[float]]:
    """Run one cell as a DVC experiment; return metrics, the training's manifest, and its cost if it ran."""
    git(clone, "reset", "--quiet", "--hard", BRANCH)
    changes = [f"--set-param={change}" for change in (*row.changes, f"{bench.seed_key}={seed}")]
    name = f"{bench.experiment}-{row.name}-seed{seed}"
    lines = run_dvc(clone, ["exp", "run", "--name", name, *changes, f"evaluate@{bench.experiment}"])
    costs = [[float(figure) for figure in match.groups()] for line in lines if (match := TRAIN_COST.match(line))]
    metrics, manifest = (
        json.loads((clone / artifact_path(stage, bench.experiment) / file_name).read_text("utf8"))
        for stage, file_name in (("evaluate", METRICS), ("train", MANIFEST))
    )
    return metrics, manifest, costs[-1] if costs else []


def run(root: Path, bench: Bench, clone: Path, out: Path, tell: Callable[[str], None]) -> list[Result]:
    """Run every cell, the first seed of all rows first, and keep each experiment in the project's repository."""
    costs_path = out / COSTS
    costs = json.loads(costs_path.read_text("utf8")) if costs_path.exists() else {}
    commit = git(clone, "rev-parse", BRANCH)
    cells = [(row, seed) for seed in bench.seeds for row in bench.rows]
    results = []
    for number, (row, seed) in enumerate(cells, start=1):
        metrics, manifest, cost = run_cell(clone, bench, row, seed)
        git(root, "fetch", "--quiet", str(clone), f"+refs/exps/{commit[:2]}/*:refs/exps/{commit[:2]}/*")
        key = manifest["settings"]["train_key"]
        if cost:
            costs[key] = cost
            write_json(costs_path, costs)
        metric = metrics["settings"]["headline"]
        seconds, peak_mb = costs.get(key, (None, None))
        parameters = manifest["counts"]["parameters"]
        results.append(Result(row.name, row.is_fusion, seed, metric, metrics[metric], parameters, seconds, peak_mb))
        how = f"trained in {seconds:.0f} s" if cost else "from the run cache"
        tell(f"[{number}/{len(cells)}] {row.name}, seed {seed}: {metric} {metrics[metric]:.4f} ({how})")
    return results
