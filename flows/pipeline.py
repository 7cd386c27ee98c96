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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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

from flows.graph.dvc_stages import Outcome, StageBusy, StageError, StageRun, dependencies, run_stage
from flows.repro import EXIT_INTERRUPTED, Experiment, console, end_on_signals, experiments, stage_table

DOWNLOAD_DELAYS_S = [10.0, 10.0]
REGISTER_DELAYS_S = [15.0, 60.0, 180.0]  # a registry that restarts is back by then
BUSY_WAIT_S, BUSY_INTERVAL_S = 600.0, 5.0  # a `dvc repro` by hand, in the middle of ours
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

    def end(self, name: str) -> None:
        """Show a stage that told its progress as done; its last line may have come too soon to be shown."""
        if self._artifact is not None:
            self.show(name, 1.0)


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE)
def stage(name: str, root: Path, force: bool = False) -> State:
    """Bring one DVC stage up to date, its lines in the log; the state says what DVC did."""
    try:
        run = _run_when_free(name, root, force)
    except StageError as error:
        return Failed(message=str(error))
    if run.outcome is Outcome.RAN:
        return Completed(message=f"ran in {run.seconds:.1f} s")
    return Completed(name="Cached", message=CACHED_MESSAGES[run.outcome])


def _run_when_free(name: str, root: Path, force: bool) -> StageRun:
    """Run a stage; where a DVC of someone else's holds what it needs, wait for some minutes."""
    log, progress = get_run_logger(), _Progress()
    deadline = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            run = run_stage(root, name, log.info, force, progress.show)
            progress.end(name)
            return run
        except StageBusy as busy:
            if time.monotonic() > deadline:
                raise
            log.warning("Waiting for another DVC process: %s", busy.reason.splitlines()[0])
            time.sleep(BUSY_INTERVAL_S)


download_stage = stage.with_options(retries=len(DOWNLOAD_DELAYS_S), retry_delay_seconds=DOWNLOAD_DELAYS_S)
register_stage = stage.with_options(retries=len(REGISTER_DELAYS_S), retry_delay_seconds=REGISTER_DELAYS_S)


@dataclass(frozen=True)
class Done:
    """A stage's final state and the seconds it took, retries with it."""

    state: State
    seconds: float


def run_graph(
    root: Path,
    graph: dict[str, list[str]],
    is_forced: Callable[[str], bool],
    on_done: Callable[[str, State], None] = lambda name, state: None,
) -> dict[str, Done]:
    """Run the stages of a graph in its order; one after a failed one is not ready and does not run.

    Args:
        root: The DVC project.
        graph: Each stage with those it reads from.
        is_forced: Whether a stage is to run even when nothing changed.
        on_done: Gets each stage and its state as soon as it has ended.
    """
    done: dict[str, Done] = {}
    for name, before in graph.items():
        run = {"download": download_stage, "register": register_stage}.get(name.partition("@")[0], stage)
        start = time.monotonic()
        waited = [done[other].state for other in before]
        state = run(name, root, is_forced(name), wait_for=waited, return_state=True)
        done[name] = Done(state, time.monotonic() - start)
        on_done(name, state)
    console().print(stage_table((name, end.state.name or "", end.seconds) for name, end in done.items()))
    return done


def failures(done: dict[str, Done]) -> list[str]:
    """Return what the failed stages said."""
    return [end.state.message or name for name, end in done.items() if end.state.is_failed()]


def counted(done: dict[str, Done]) -> str:
    """Return in words how many stages ran."""
    cached = sum(end.state.name == "Cached" for end in done.values())
    return f"{len(done) - cached} stages ran, {cached} were up to date"


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
    lines = provenance(root)
    for experiment in found:
        decision = experiment.version.get("decision", {})
        lines += ["", f"## {experiment.title}", ""]
        if experiment.version:
            lines += [f"- MLflow run: `{experiment.version['run_id']}`"]
            lines += [f"- promoted: {'yes' if decision.get('promote') else 'no'}"]
        lines += [f"- {reason}" for reason in decision.get("reasons", [])]
    return "\n".join(lines)


def provenance(root: Path) -> list[str]:
    """Return the git commit and the digest of dvc.lock, as lines of a list."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # an image of a work pool without git
        commit = ""
    lock = root / "dvc.lock"
    return [
        f"- git commit: `{commit or 'none'}`",
        f"- dvc.lock sha256: `{hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else 'none'}`",
    ]


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
    return run_once(lambda: pipeline(force=arguments.force, targets=arguments.targets, return_state=True))


def run_once(run: Callable[[], State]) -> int:
    """Run a flow on the server that the environment names, or on a temporary one; return the exit code."""
    end_on_signals()
    try:
        if not PREFECT_API_URL.value():
            start_temporary_server()
        state = run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if not state.is_completed():
        console().print(state.message, markup=False, highlight=False, soft_wrap=True)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main(_ARGUMENTS))
