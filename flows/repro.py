"""What `make repro` runs: all that `dvc repro` would, side by side where there is room; then how good the models are.

It imports neither Prefect nor MLflow nor torch, so that a run with nothing to do costs little more than DVC.

Run it: `python -m flows.repro [--jobs N] [target ...]`.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.graph import settings
from flows.graph.dependencies import dependencies_and_changed, order_lock, select
from flows.graph.dvc_stages import Outcome, StageError, StageRun, repro
from flows.graph.experiments import Experiment, experiments
from flows.graph.inputs import check_inputs
from flows.graph.lanes import Listener, lane_count, run_in_lanes, touched
from flows.graph.terminal import EXIT_INTERRUPTED, LAST_LINES, console, end_on_signals, stage_table

TRY_COMMAND = ".venv/bin/python -m stages.register {experiment} --try {inputs}"
TRY_INPUTS = {  # a medium is given as a file
    "text": 'text="WORDS"',
    "question": 'question="WORDS"',
    "fields": "fields='{\"NAME\": VALUE}'",
}


def model_table(found: Iterable[Experiment]) -> Table:
    """Return a table of models: the headline metric beside the baselines and the ceiling."""
    table = Table("model version", "metric", box=box.SIMPLE_HEAD)
    for column in ("model", "baselines", "ceiling"):
        table.add_column(column, justify="right")
    for experiment in found:
        if (metric := experiment.headline) is None:
            table.add_row(experiment.title, "not evaluated", "-", "-", "-")
            continue
        baselines = experiment.metrics.get("baselines", {})
        beside = [f"{name} {row[metric]:.3f}" for name, row in baselines.items() if metric in row]
        ceiling = experiment.metrics.get("ceiling", {}).get(metric)
        table.add_row(
            experiment.title,
            metric,
            f"{experiment.numbers[metric]:.3f}",
            "\n".join(beside) or "-",
            "-" if ceiling is None else f"{ceiling:.3f}",
        )
    return table


def _run(out: Console, root: Path, targets: list[str], jobs: int) -> list[StageRun]:
    """Run the graph; on a terminal the last line tells how far each stage at work is."""
    check_inputs(root)
    if not out.is_terminal:
        return _run_jobs(out, root, targets, jobs, lambda run: None, None)
    at_work: dict[str, float] = {}
    with out.status("dvc repro") as status:

        def show() -> None:
            status.update(", ".join(f"{name} {fraction:.0%}" for name, fraction in at_work.items()) or "dvc repro")

        def on_progress(name: str, fraction: float) -> None:
            at_work[name] = fraction
            show()

        def on_stage_done(run: StageRun) -> None:
            at_work.pop(run.name, None)
            show()

        return _run_jobs(out, root, targets, jobs, on_stage_done, on_progress)


def _run_jobs(
    out: Console,
    root: Path,
    targets: list[str],
    jobs: int,
    on_stage_done: Callable[[StageRun], None],
    on_progress: Callable[[str, float], None] | None,
) -> list[StageRun]:
    """Run one `dvc repro`, or `jobs` at once where several stages have changed."""

    def show(line: str) -> None:
        out.print(Text.from_ansi(line), soft_wrap=True)

    def labelled(name: str, line: str) -> None:
        if line:
            show(f"{name} | {line}")

    if jobs == 1:
        return repro(root, show, on_stage_done, targets, on_progress)
    graph, changed = dependencies_and_changed(root)
    try:
        graph = select(graph, targets)
    except ValueError as error:
        raise StageError("dvc repro", str(error)) from error
    wanted = touched(graph, changed)
    try:
        runs = run_in_lanes(root, wanted, jobs, Listener(labelled, on_stage_done, on_progress))
    finally:
        if wanted:
            order_lock(root, graph)
    ran = {run.name: run for run in runs}
    return [ran.get(name) or StageRun(name, Outcome.CACHED, 0.0) for name in graph]


def _report(out: Console, root: Path, runs: list[StageRun]) -> None:
    out.print(stage_table((run.name, run.outcome.value, run.seconds) for run in runs))
    if all(run.outcome is Outcome.CACHED for run in runs):
        out.print("nothing to do: every stage is up to date")
    found = experiments(root, [run.name for run in runs])
    if found:
        out.print(model_table(found))
        for line in _try_lines(found):
            out.print(line, soft_wrap=True, markup=False, highlight=False)


def _try_lines(found: Iterable[Experiment]) -> Iterator[str]:
    registered = [experiment for experiment in found if experiment.version]
    if registered:
        yield "try a model:"
    for experiment in registered:
        inputs = " ".join(TRY_INPUTS.get(name, f"{name}=FILE") for name in experiment.version.get("inputs", ["image"]))
        yield f"  {TRY_COMMAND.format(experiment=experiment.name, inputs=inputs)}"


def _jobs(text: str) -> int:
    jobs = int(text)
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"got {jobs}; expected 1 or more")
    return jobs


def main(arguments: list[str] | None = None) -> int:
    """Run the graph, say what ran and how good the models are; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.repro", description="Bring every stage up to date.")
    parser.add_argument("targets", nargs="*", help="stages to stop at, such as train@caption (default: all)")
    parser.add_argument("--jobs", type=_jobs, help="stages at work at once (default: what cores and memory allow)")
    chosen = parser.parse_args(arguments)
    settings.apply()
    end_on_signals()
    root, out = settings.project_root(), console()
    try:
        runs = _run(out, root, chosen.targets, chosen.jobs or lane_count(root))
    except StageError as error:
        out.print(f"\n{error.name} failed: {error.reason}", markup=False, highlight=False, soft_wrap=True)
        for line in error.lines[-LAST_LINES:]:
            out.print(Text.from_ansi(f"  {line}"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        out.print("\ninterrupted: what was at work was stopped")
        return EXIT_INTERRUPTED
    _report(out, root, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
