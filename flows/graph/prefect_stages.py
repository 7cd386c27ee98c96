"""DVC's stages as tasks of Prefect: live logs, progress, a state of their own, retries where a server may be away.

DVC alone says what must run: a stage that it skips ends as `Cached`. Stages run one after another, since
`dvc repro` locks what it writes; a stage after a failed one is not ready and does not run.
"""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph import settings

settings.apply()

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.graph.dvc_stages import Outcome, StageBusy, StageError, StageRun, run_stage
from flows.graph.terminal import console, stage_table

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
    on_turn: Callable[[str], None] = lambda name: None,
) -> dict[str, Done]:
    """Run the stages of a graph in its order; one after a failed one is not ready and does not run.

    Args:
        root: The DVC project.
        graph: Each stage with those it reads from.
        is_forced: Whether a stage is to run even when nothing changed.
        on_done: Gets each stage and its state as soon as it has ended.
        on_turn: Gets each stage when those before it have succeeded, just before it runs.
    """
    done: dict[str, Done] = {}
    for name, before in graph.items():
        run = {"download": download_stage, "register": register_stage}.get(name.partition("@")[0], stage)
        start = time.monotonic()
        waited = [done[other].state for other in before]
        if all(state.is_completed() for state in waited):
            on_turn(name)
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
