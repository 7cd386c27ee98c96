"""The DVC graph as one Prefect flow: each stage a task run with live logs, progress and a state of its own.

Run it: `python -m flows.pipeline [--force] [--targets ...]`, on the server that PREFECT_API_URL names or on a
temporary one.
"""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flows.graph import settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the graph as a flow.")
    parser.add_argument("--force", action="store_true", help="run the stages even when nothing changed")
    parser.add_argument("--targets", nargs="+", metavar="STAGE", help="stages to stop at (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    _ARGUMENTS = _arguments()  # before Prefect is imported: --help need not wait for it
settings.apply()

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.graph.dependencies import dependencies, select
from flows.graph.dvc_stages import StageError
from flows.graph.experiments import Experiment, experiments, provenance
from flows.graph.prefect_server import run_once
from flows.graph.prefect_stages import counted, failures, run_graph


@flow(name="pipeline")
def pipeline(root: Path | None = None, force: bool = False, targets: list[str] | None = None) -> State:
    """Bring every stage up to date, or `targets` and the stages before them, and publish the results.

    Args:
        root: The DVC project, by default the one around the current folder.
        force: Run the stages even when nothing changed.
        targets: Stage addresses, or the name of a stage for all of its instances.
    """
    root = root or settings.project_root()
    try:
        graph = select(dependencies(root), targets)
    except (StageError, ValueError) as error:
        return Failed(message=str(error))
    done = run_graph(root, graph, lambda name: force)
    if failed := failures(done):
        return Failed(message="\n\n".join(failed))
    publish(root, experiments(root, graph))
    return Completed(message=counted(done))


def publish(root: Path, found: list[Experiment]) -> None:
    """Publish a table of the metrics and a page on where the models come from."""
    create_table_artifact(result_rows(found), key="results", description="Each model beside its baselines")
    create_markdown_artifact(lineage(root, found), key="lineage", description="Where the models come from")


def result_rows(found: Iterable[Experiment]) -> list[dict[str, Any]]:
    """Return one row a model, then one for each of its baselines and for its ceiling."""
    rows: list[dict[str, Any]] = []
    for experiment in found:
        beside = {**experiment.metrics.get("baselines", {}), "ceiling": experiment.metrics.get("ceiling", {})}
        rows.append({"experiment": experiment.name, "row": experiment.title, **experiment.numbers})
        rows += [{"experiment": experiment.name, "row": name, **row} for name, row in beside.items() if row]
    return rows


def lineage(root: Path, found: Iterable[Experiment]) -> str:
    """Return the commit, the digest of dvc.lock and each model version with the reasons for its aliases."""
    lines = provenance(root)
    for experiment in found:
        decision = experiment.version.get("decision", {})
        lines += ["", f"## {experiment.title}", ""]
        if experiment.version:
            lines += [f"- MLflow run: `{experiment.version['run_id']}`"]
            lines += [f"- promoted: {'yes' if decision.get('promote') else 'no'}"]
        lines += [f"- {reason}" for reason in decision.get("reasons", [])]
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> int:
    """Run the flow once; return the exit code."""
    return run_once(lambda: pipeline(force=arguments.force, targets=arguments.targets, return_state=True))


if __name__ == "__main__":
    sys.exit(main(_ARGUMENTS))
