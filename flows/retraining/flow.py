"""The flow `retrain`: look for new data, run what it changes, let the gate decide, and report."""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import base64
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

from flows.graph import settings

settings.apply()

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from flows.graph.dependencies import dependencies, select
from flows.graph.dvc_stages import StageBusy, StageError
from flows.graph.experiments import experiments as read_experiments
from flows.graph.experiments import provenance
from flows.graph.prefect_stages import Done, counted, failures, run_graph
from flows.retraining.at_work import Refused, dvc_processes, end_orphans, sole
from flows.retraining.before import Before, forget_before, is_unreported, keep_before, read_curves
from flows.retraining.crashed_runs import sweep
from flows.retraining.names import WHAT
from flows.retraining.news import News, look_around
from flows.retraining.report import Report, curves_png, page, rows
from flows.retraining.start import choose_start
from stages.base.errors import InputError
from stages.params import load_params

UNREPORTED = "an earlier run was killed before its report; what it registered is told here"
MOST_UNASKED = 3


@flow(name="retrain")
def retrain(force: bool = False, experiments: list[str] | None = None) -> State:
    """Look for new data, run the stages that it changes, register challengers, apply the gate, and report.

    Args:
        force: Run the stages even when there is no new data and no changed code or params.
        experiments: Names from the section `experiments` of params.yaml; without any, all of them.
    """
    root = settings.project_root()
    try:
        with sole(root, WHAT, flow_run.name or WHAT):
            sweep(_deployment_id(), flow_run.name)
            _clear_the_way(root)
            return _retrain(root, force, experiments)
    except Refused as refused:
        return Cancelled(name="Refused", message=str(refused))
    except StageBusy as busy:  # a `dvc repro` that began while we looked
        return Cancelled(name="Refused", message=busy.reason)
    except (StageError, InputError) as error:
        _publish_page(f"# Failed\n\n```\n{error}\n```")
        return Failed(message=str(error))


def _deployment_id() -> UUID | None:
    return UUID(deployment.id) if deployment.id else None


def _clear_the_way(root: Path) -> None:
    """End what killed runs left at work; refuse to run beside a DVC of someone else's.

    Raises:
        Refused: A `dvc repro` by hand is at work.
    """
    for orphan in end_orphans(root):
        get_run_logger().warning("Ended what a killed run had left: %s", orphan)
    if others := dvc_processes(root):
        raise Refused(f"{'; '.join(map(str, others))}: run again when it has ended")


def _retrain(root: Path, force: bool, experiments: list[str] | None) -> State:
    graph, params = _chosen(root, experiments), load_params(root / "params.yaml")
    news = look_around(root, params, graph)
    names = _experiments(graph)
    unreported = is_unreported(root, names)
    told = [*news.lines(), *([UNREPORTED] if unreported else []), *news.unknown()]
    for line in told:
        get_run_logger().info(line)
    if not (force or news.is_any or unreported):
        news.note(root)
        return Completed(name="NothingToDo", message=_nothing(news))
    before = keep_before(root, names)
    start = partial(choose_start, root, choice=params.retrain.init, force=force)
    done = run_graph(root, graph, lambda name: force or name in news.forced, _noting(root, news), start)
    report = _report(root, told, done, before)
    _publish(root, report)
    forget_before(root, names)
    if report.failures:
        return Failed(message="\n\n".join([*report.failures, *([report.summary()] if report.challengers else [])]))
    return Completed(message=f"{report.summary()}; {counted(done)}")


def _chosen(root: Path, experiments: list[str] | None) -> dict[str, list[str]]:
    """Return the stages of these experiments, or all.

    Raises:
        InputError: An experiment is unknown.
    """
    graph = dependencies(root)
    names = _experiments(graph)
    if wrong := sorted(set(experiments or ()) - set(names)):
        raise InputError(f"experiments: got {', '.join(wrong)}; expected some of {', '.join(names)}")
    return select(graph, [f"register@{name}" for name in experiments or ()])


def _experiments(graph: dict[str, list[str]]) -> list[str]:
    return [name.partition("@")[2] for name in graph if name.startswith("register@")]


def _nothing(news: News) -> str:
    """Return the message of a run with nothing to do."""
    seen = [
        f"data set {name} has {len(look.fingerprint.folder)} files as before"
        for name, look in news.looks.items()
        if look.fingerprint.folder
    ]
    taken_in = [f"{line}, and `dvc repro` has taken that in" for line in news.lines()]
    parts = taken_in or seen or ["no data set has new files"]
    return "; ".join([*parts, "code and params did not change", *news.unknown()[:MOST_UNASKED]])


def _noting(root: Path, news: News) -> Callable[[str, State], None]:
    """Return what keeps a data set's fingerprint as soon as its download has succeeded with it."""

    def note(name: str, state: State) -> None:
        stage, _, dataset = name.partition("@")
        if stage == "download" and state.is_completed():
            news.note(root, dataset)

    return note


def _report(root: Path, told: list[str], done: dict[str, Done], before: Before) -> Report:
    return Report(
        news=told,
        stages=[(name, end.state.name or "", end.seconds) for name, end in done.items()],
        experiments=read_experiments(root, done),
        before=before,
        failures=failures(done),
    )


def _publish(root: Path, report: Report) -> None:
    """Publish the table, the page and the picture."""
    curves = {experiment.name: read_curves(root, experiment.name) for experiment in report.experiments}
    picture = curves_png(curves, report.before.curves)
    about = "Each model against its champion"
    _published(lambda: create_table_artifact(rows(report), key="retrain-results", description=about))
    _publish_page(page(report, provenance(root), os.environ.get("MLFLOW_TRACKING_URI", "")))
    if picture:
        address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        _published(lambda: create_image_artifact(address, key="retrain-curves", description="Validation loss"))


def _publish_page(text: str) -> None:
    _published(lambda: create_markdown_artifact(text, key="retrain-report", description="What the retraining did"))


def _published(publish: Callable[[], object]) -> None:
    """Publish; a server that is away loses the artifact, not the run."""
    try:
        publish()
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("An artifact of the report is not shown: %s", error)
