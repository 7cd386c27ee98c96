"""What the gate is given: challenger and champion on the same test samples, and the challenger's floors.

When the test data changed, the champion is scored again on it, by its own code (`RESCORERS`) in a process
of its own; its new predictions are kept in the challenger's run, so that the decision can be checked later.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.base.store import BASES_PLACE, METRICS, PREDICTIONS, artifact_path, bases_folder, say
from stages.base.tracking import flatten
from stages.params import Params
from stages.registry.gate import check_floors, decide, hold_floors, largest_fall
from stages.registry.lineage import TEST_DATA_TAG, test_data_digest
from stages.registry.lineage_files import LINEAGE
from stages.registry.registry import fault_of
from stages.registry.trained_on import TRAINED_ON, num_seen
from stages.registry.trivial import proves_nothing

AUTO = "auto"  # as register.metric: the headline of the task
RESCORERS = ("stages.packaging.rescore", "stages.rescore")  # the module, now and before there were rooms
RESCORED = "rescored"  # folder in the challenger's run
Columns = dict[str, list[Any]]  # of a predictions file


class NotComparableError(Exception):
    """The champion cannot be scored on the challenger's test data; the message is the reason."""


def check_gate(params: Params, name: str) -> None:
    """Refuse a metric or a floor that the evaluated model does not have, before anything is registered.

    Raises:
        InputError: naming it, and what there is.
    """
    _gate_metric(params, name)
    check_floors(_scores(name), params.register_.floors.get(name, {}), f"register.floors.{name}")


def compare(mlflow_client: Any, params: Params, name: str, number: int, champion: int | None) -> dict[str, Any]:
    """Return the gate's decision on a version as JSON values; a champion that cannot be scored stays."""
    from stages.models.tasks import task_of

    task = task_of(params.experiments[name])
    metric = _gate_metric(params, name)
    mine = read_predictions(artifact_path("evaluate", name) / PREDICTIONS)
    nothing = proves_nothing(mine, _metrics(name), metric)
    if nothing:
        by_hand = f"python -m stages.register {name} --promote {number} --reason <text>"
        return {"promote": False, "reasons": [f"not promoted: {nothing}; `{by_hand}` does it all the same"]}
    before = None
    notes: list[str] = []
    if champion is not None:
        try:
            theirs, notes = _champions(mlflow_client, params, name, number, champion)
            before = _statistics(task, theirs, metric)
        except NotComparableError as error:
            return {"promote": False, "reasons": [f"not compared with the champion, version {champion}: {error}"]}
    statistics = task.statistics(mine, metric)
    gate = params.register_.model_copy(update={"metric": metric})
    metric_of, summed = partial(task.metric_of, metric=metric), partial(task.summed, metric=metric)
    decision = decide(before, statistics, metric_of, gate, summed)
    decision = hold_floors(decision, _scores(name), params.register_.floors.get(name, {}))
    if before is not None and mine.get(task.sliced):
        fall = largest_fall(before, statistics, mine[task.sliced], metric_of, summed)
        notes += [f"of its slices by {task.sliced}, {fall[0]} fell most, by {fall[1]:.4f}"] if fall else []
    return {**dataclasses.asdict(decision), "reasons": [*notes, *decision.reasons]}


def _gate_metric(params: Params, name: str) -> str:
    """Return the metric to compare: the one that params name where the evaluation has it, else the task's headline.

    Raises:
        InputError: when no task has it.
    """
    from stages.models.tasks import TASKS, task_of

    named = params.register_.metric
    known = sorted({metric for other in TASKS.values() for metric in other.gate_metrics()})
    if named not in (AUTO, *known):
        raise InputError(f"register.metric: got {named!r}; expected one of {', '.join([AUTO, *known])}")
    task = task_of(params.experiments[name])
    return named if named in task.gate_metrics() and named in _metrics(name) else task.headline


def _statistics(task: Any, theirs: Columns, metric: str) -> Any:
    """Return what the gate sums of a champion's predictions.

    Raises:
        NotComparableError: when they have no column of it, as those of a version from before there was the metric.
    """
    try:
        return task.statistics(theirs, metric)
    except KeyError as error:
        raise NotComparableError(
            f"its predictions have no column {error}, of which {metric} is made: its code is from before that; "
            f"compare by another register.metric, such as {task.headline}, or promote this version by hand"
        ) from None


def _scores(name: str) -> dict[str, float]:
    """Return the evaluated model's own metrics, those of slices by dotted names."""
    beside = ("baselines", "ceiling", "settings")
    return flatten({key: value for key, value in _metrics(name).items() if key not in beside})


def _metrics(name: str) -> dict[str, Any]:
    return json.loads((artifact_path("evaluate", name) / METRICS).read_text(encoding="utf8"))


def _champions(mlflow_client: Any, params: Params, name: str, number: int, champion: int) -> tuple[Columns, list[str]]:
    """Return the champion's predictions of the challenger's test samples, and what there is to say about them.

    Raises:
        NotComparableError: when there are none.
    """
    from stages.models.tasks import task_of

    dataset, compared = params.experiments[name].dataset, task_of(params.experiments[name]).compared
    mine = read_predictions(artifact_path("evaluate", name) / PREDICTIONS)
    version = mlflow_client.get_model_version(name, str(champion))
    theirs = _kept_predictions(mlflow_client, version.run_id)
    if theirs is None:
        why = "its predictions are not kept any more"
    elif version.tags.get(TEST_DATA_TAG, "") not in ("", test_data_digest(dataset)):
        why = "the test data changed since it was evaluated"
    elif any(theirs.get(column) != mine[column] for column in compared):
        why = "the test samples are not those it was evaluated on"
    else:
        return theirs, []
    fault = fault_of(mlflow_client, name, champion)
    if fault:
        raise NotComparableError(f"{why}, and it is not whole: {fault}")
    say(f"register {name}: {why}; scoring the champion, version {champion}, again")
    with tempfile.TemporaryDirectory() as folder:
        path = score_again(f"models:/{name}/{champion}", artifact_path("prepare", dataset), Path(folder))
        theirs = read_predictions(path)
        different = [column for column in compared if theirs.get(column) != mine[column]]
        if different:
            raise NotComparableError(f"{why}, and scored again it has other values of {', '.join(different)}")
        run = mlflow_client.get_model_version(name, str(number)).run_id
        mlflow_client.log_artifact(run, str(path), f"{RESCORED}/champion-{champion}")
    told = f"the champion, version {champion}, was scored again on this test data: {why}"
    return theirs, [told, *_seen(mlflow_client, version.run_id, dataset)]


def _seen(mlflow_client: Any, run_id: str, dataset: str) -> list[str]:
    """Say how much of the test data the champion was trained on; nothing where there is none, or it is not known."""
    with _kept(mlflow_client, run_id, f"{LINEAGE}/{TRAINED_ON}") as path:
        seen, total = num_seen(path, dataset) if path else (0, 0)
    told = f"{seen} of {total} test samples were in its training, so that its score flatters it"
    return [told] if seen else []


def _kept_predictions(mlflow_client: Any, run_id: str) -> Columns | None:
    """Return what a version's evaluation predicted, or None where it is gone."""
    with _kept(mlflow_client, run_id, f"evaluate/{PREDICTIONS}") as path:
        return read_predictions(path) if path else None


@contextlib.contextmanager
def _kept(mlflow_client: Any, run_id: str, place: str) -> Iterator[Path | None]:
    """Yield a copy of a file of a version's run, or None where it is gone or was never kept."""
    import mlflow

    if place not in [item.path for item in mlflow_client.list_artifacts(run_id, place.partition("/")[0])]:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{place}", dst_path=folder))


def score_again(uri: str, prepared: Path, folder: Path) -> Path:
    """Let a version answer a prepared test split with its own code; return its predictions file in the folder.

    Raises:
        NotComparableError: when its code cannot, or the data lacks what it needs.
    """
    import mlflow

    package = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    flavor = YAML(typ="safe").load((package / "MLmodel").read_text(encoding="utf8"))["flavors"]["python_function"]
    code, files = package / flavor["code"], flavor["artifacts"]
    rescorer = next((name for name in RESCORERS if (code / f"{name.replace('.', '/')}.py").exists()), None)
    if rescorer is None:
        raise NotComparableError("the code that it was registered with cannot score it again on other test data")
    out, elsewhere = folder / PREDICTIONS, folder / "elsewhere"
    elsewhere.mkdir()
    places = {
        "model": package / files["model"]["path"],
        "settings": package / files["settings"]["path"],
        "prepared": prepared.absolute(),
        "out": out,
    }
    done = subprocess.run(
        [sys.executable, "-m", rescorer, *(f"--{key}={path}" for key, path in places.items())],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(code), BASES_PLACE: str(bases_folder().absolute())},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise NotComparableError(f"it cannot be scored again on this test data: {last[:500]}")
    return out


def read_predictions(path: Path) -> Columns:
    """Return the columns of a predictions file."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pydict()
