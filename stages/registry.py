"""Model versions and their aliases in the MLflow registry, and the gate's decision on a new version."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from stages.errors import InputError
from stages.lineage import DIGEST_TAG, PREFIX
from stages.params import Params
from stages.store import PREDICTIONS, artifact_path, say

CHAMPION, CHALLENGER = "champion", "challenger"
AUTO = "auto"  # as register.metric: the headline of the task
DECISION_TAG = f"{PREFIX}decision"


def find_version(mlflow_client: Any, name: str, digest: str) -> Any:
    """Return the finished version with this digest, or None."""
    found = mlflow_client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def settle(mlflow_client: Any, params: Params, name: str, version: Any) -> dict[str, Any]:
    """Let the gate decide on a version and move the aliases; repeated, it changes nothing.

    The decision is kept as a tag of the version, so that a version that was rejected or replaced stays so.
    """
    decided = version.tags.get(DECISION_TAG)
    champion = _champion(mlflow_client, name)
    if decided:
        return json.loads(decided)
    if champion is None or champion.version != version.version:
        mlflow_client.set_registered_model_alias(name, CHALLENGER, version.version)
        decision = _decide(mlflow_client, params, name, champion)
    else:  # killed between the alias and the tag
        decision = {"promote": True, "reasons": ["it is the champion already"]}
    if decision["promote"]:
        mlflow_client.set_registered_model_alias(name, CHAMPION, version.version)
        if CHALLENGER in aliases_of(mlflow_client, name, version.version):
            mlflow_client.delete_registered_model_alias(name, CHALLENGER)
    mlflow_client.set_model_version_tag(name, version.version, DECISION_TAG, json.dumps(decision))
    return decision


def aliases(mlflow_client: Any, name: str) -> dict[str, str]:
    """Return the version behind each alias; none when nothing is registered under the name."""
    found = mlflow_client.search_registered_models(f"name = '{name}'")
    return dict(mlflow_client.get_registered_model(name).aliases) if found else {}


def _champion(mlflow_client: Any, name: str) -> Any:
    number = aliases(mlflow_client, name).get(CHAMPION)
    return mlflow_client.get_model_version(name, number) if number else None


def aliases_of(mlflow_client: Any, name: str, version: str) -> list[str]:
    """Return the aliases of a version, sorted."""
    found = aliases(mlflow_client, name).items()
    return sorted(alias for alias, number in found if int(number) == int(version))


def _decide(mlflow_client: Any, params: Params, name: str, champion: Any) -> dict[str, Any]:
    """Compare with the champion on the same test samples."""
    import mlflow

    from stages.gate import decide
    from stages.tasks import TASKS

    task = TASKS[params.experiments[name].task]
    metric = _gate_metric(params, task)
    mine = read_predictions(artifact_path("evaluate", name) / PREDICTIONS)
    theirs = None
    if champion is not None:
        with tempfile.TemporaryDirectory() as folder:
            uri = f"runs:/{champion.run_id}/evaluate/{PREDICTIONS}"
            theirs = read_predictions(Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)))
        if any(theirs.get(column) != mine[column] for column in task.compared):
            reason = f"the test samples are not those of the champion, version {champion.version}: not compared"
            return {"promote": False, "reasons": [reason]}
    decision = decide(
        task.statistics(theirs, metric) if theirs else None,
        task.statistics(mine, metric),
        lambda summed: task.metric_of(summed, metric),
        params.register_.model_copy(update={"metric": metric}),
    )
    return dataclasses.asdict(decision)


def _gate_metric(params: Params, task: Any) -> str:
    """Return the metric to compare: the one that params name where the task has it, else the task's headline.

    Raises:
        InputError: when no task has it.
    """
    from stages.tasks import TASKS

    named = params.register_.metric
    known = sorted({metric for other in TASKS.values() for metric in other.gate_metrics()})
    if named not in (AUTO, *known):
        raise InputError(f"register.metric: got {named!r}; expected one of {', '.join([AUTO, *known])}")
    return named if named in task.gate_metrics() else task.headline


def read_predictions(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a predictions file."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pydict()


def list_versions() -> None:
    """Print versions, aliases, scores and lineage of all registered models."""
    from rich.console import Console
    from rich.table import Table

    from stages.tracking import client

    mlflow_client = client()
    table = Table("model", "version", "aliases", "score", "data", "params", "commit")
    reasons = []
    for model in mlflow_client.search_registered_models():
        versions = mlflow_client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(versions, key=lambda version: int(version.version)):
            metrics = mlflow_client.get_run(version.run_id).data.metrics
            tags = {key.removeprefix(PREFIX): value for key, value in version.tags.items()}
            decision = json.loads(tags.get("decision", '{"reasons": ["not decided"]}'))
            table.add_row(
                model.name,
                str(version.version),
                ", ".join(aliases_of(mlflow_client, model.name, version.version)),
                _headline(metrics, tags),
                *(tags.get(key, "")[:8] for key in ("data", "params", "git_commit")),
            )
            reasons.append(f"{model.name} {version.version}: {'; '.join(decision['reasons'])}")
    if table.row_count:
        Console().print(table)
        say("\n".join(reasons))
    else:
        say("no model is registered; run `dvc repro`")


def _headline(metrics: dict[str, float], tags: dict[str, str]) -> str:
    """Return a version's headline metric with its name."""
    name = tags.get("headline", "")
    value = metrics.get(f"test_{name}")
    return "" if value is None else f"{name} {value:.4f}"
