"""The DVC graph as one Prefect flow: each stage a task run with live logs, progress and a state of its own.

DVC alone says what must run: a stage that it skips ends as `Cached`. Stages run one after another, since
`dvc repro` locks what it writes; a stage after a failed one is not ready and does not run.

Run it: `python -m flows.pipeline [--force] [--targets ...]`, on the server that PREFECT_API_URL names or on a
temporary one.
"""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import argparse
import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flows import settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the graph as a flow.")
    parser.add_argument("--force", action="store_true", help="run the stages even when nothing changed")
    parser.add_argument("--targets", nargs="+", metavar="STAGE", help="stages to stop at (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    _ARGUMENTS = _arguments()  # before Prefect is imported: --help need not wait for it
settings.apply()

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from flows.dvc_stages import Outcome, StageError, dependencies, run_stage
from flows.repro import EXIT_INTERRUPTED, Experiment, console, end_on_signals, experiments, stage_table

DOWNLOAD_RETRIES = 2
DOWNLOAD_RETRY_DELAY_S = 10.0
PROGRESS_INTERVAL_S = 1.0
CACHED_MESSAGES = {
    Outcome.CACHED: "did not change",
    Outcome.RESTORED: "restored from the run cache: an earlier run had the same inputs",
}


class _Progress:
    """Moves the progress artifact of a stage; a server that does not answer does not stop the stage."""

    def __init__(self) -> None:
        self._artifact: Any = None
        self._shown_at = 0.0

    def show(self, name: str, fraction: float) -> None:
        """Show how much of the stage is done, at most once an interval but for the end."""
        now = time.monotonic()
        if fraction < 1 and now - self._shown_at < PROGRESS_INTERVAL_S:
            return
        self._shown_at = now
        try:
            if self._artifact is None:
                key = "progress-" + "".join(c if c.isalnum() else "-" for c in name.lower())
                self._artifact = create_progress_artifact(100 * fraction, key=key, description=name)
            else:
                update_progress_artifact(self._artifact, progress=100 * fraction)
        except httpx.HTTPError as error:
            get_run_logger().warning("The progress of %s is not shown: %s", name, error)


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE)
def stage(name: str, root: Path, force: bool = False) -> State:
    """Bring one DVC stage up to date, its lines in the log; the state says what DVC did."""
    try:
        run = run_stage(root, name, get_run_logger().info, force, _Progress().show)
    except StageError as error:
        return Failed(message=str(error))
    if run.outcome is Outcome.RAN:
        return Completed(message=f"ran in {run.seconds:.1f} s")
    return Completed(name="Cached", message=CACHED_MESSAGES[run.outcome])


download_stage = stage.with_options(retries=DOWNLOAD_RETRIES, retry_delay_seconds=DOWNLOAD_RETRY_DELAY_S)


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
    states: dict[str, State] = {}
    seconds: dict[str, float] = {}
    for name, before in graph.items():
        run = download_stage if name.startswith("download") else stage
        start = time.monotonic()
        states[name] = run(name, root, force, wait_for=[states[other] for other in before], return_state=True)
        seconds[name] = time.monotonic() - start
    console().print(stage_table((name, state.name or "", seconds[name]) for name, state in states.items()))
    failures = [state.message or name for name, state in states.items() if state.is_failed()]
    if failures:
        return Failed(message="\n\n".join(failures))
    publish(root, experiments(root, graph))
    cached = sum(state.name == "Cached" for state in states.values())
    return Completed(message=f"{len(states) - cached} stages ran, {cached} were up to date")


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
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    git = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lock = root / "dvc.lock"
    lines = [
        f"- git commit: `{git.stdout.strip() or 'none'}`",
        f"- dvc.lock sha256: `{hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else 'none'}`",
    ]
    for experiment in found:
        decision = experiment.version.get("decision", {})
        lines += ["", f"## {experiment.title}", ""]
        if experiment.version:
            lines += [f"- MLflow run: `{experiment.version['run_id']}`"]
            lines += [f"- promoted: {'yes' if decision.get('promote') else 'no'}"]
        lines += [f"- {reason}" for reason in decision.get("reasons", [])]
    return "\n".join(lines)


def start_temporary_server() -> None:
    """Start Prefect's temporary server so that a Ctrl-C in the terminal, sent to all, does not end it.

    It has to outlive the flow, whose end it stores; it is stopped when this process exits. It inherits the
    blocked signals of the thread that starts it, and the thread leaves Ctrl-C working here meanwhile.
    """

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        SubprocessASGIServer().start()

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join()


def main(arguments: argparse.Namespace) -> int:
    """Run the flow once; return the exit code."""
    end_on_signals()
    try:
        if not PREFECT_API_URL.value():
            start_temporary_server()
        state = pipeline(force=arguments.force, targets=arguments.targets, return_state=True)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if state.is_failed():
        console().print(state.message, markup=False, highlight=False, soft_wrap=True)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main(_ARGUMENTS))
