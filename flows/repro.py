"""What `make repro` runs: one `dvc repro`, then which stages ran, and each model beside its baselines.

It imports neither Prefect nor MLflow nor torch, so that a run with nothing to do costs little more than DVC.

Run it: `python -m flows.repro [target ...]`.
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
from flows.graph.dvc_stages import Outcome, StageError, StageRun, repro
from flows.graph.experiments import Experiment, experiments
from flows.graph.inputs import check_inputs
from flows.graph.terminal import EXIT_INTERRUPTED, LAST_LINES, console, end_on_signals, stage_table

TRY_COMMAND = ".venv/bin/python -m stages.register {experiment} --try {inputs}"
TRY_INPUTS = {"image": "image=FILE", "audio": "audio=FILE", "text": 'text="WORDS"', "question": 'question="WORDS"'}


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


def _run(out: Console, root: Path, show: Callable[[str], None], targets: list[str]) -> list[StageRun]:
    """Run the graph; on a terminal the last line tells how far the stage at work is."""
    if not out.is_terminal:
        return repro(root, show, lambda run: None, targets)
    with out.status("dvc repro") as status:
        return repro(
            root,
            show,
            lambda run: status.update("dvc repro"),
            targets,
            lambda name, fraction: status.update(f"{name} {fraction:.0%}"),
        )


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


def main(arguments: list[str] | None = None) -> int:
    """Run the graph, say what ran and how good the models are; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.repro", description="Bring every stage up to date.")
    parser.add_argument("targets", nargs="*", help="stages to stop at, such as train@caption (default: all)")
    targets = parser.parse_args(arguments).targets
    settings.apply()
    end_on_signals()
    root, out = settings.project_root(), console()

    def show(line: str) -> None:
        out.print(Text.from_ansi(line), soft_wrap=True)

    try:
        check_inputs(root)
        runs = _run(out, root, show, targets)
    except StageError as error:
        out.print(f"\n{error.name} failed: {error.reason}", markup=False, highlight=False, soft_wrap=True)
        for line in error.lines[-LAST_LINES:]:
            show(f"  {line}")
        return 1
    except KeyboardInterrupt:
        out.print("\ninterrupted: the stage at work was stopped")
        return EXIT_INTERRUPTED
    _report(out, root, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
