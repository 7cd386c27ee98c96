"""What a retraining says: one sentence, a table against the champions, a page, and a picture of the curves.

Pure functions over what the stages wrote; publishing is the flow's.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flows.graph.experiments import Experiment
from flows.retraining.before import Before
from stages.base.addresses import shown

MOST_CURVES = 8
X, Y = "epoch", "val_loss"
SAMPLES = "artifacts/evaluate/{name}/samples.html"


@dataclass(frozen=True)
class Report:
    """One retraining: what was new, each stage with what came of it and its seconds, and the models now."""

    news: list[str]
    stages: list[tuple[str, str, float]]
    experiments: list[Experiment]
    before: Before = field(default_factory=Before)
    failures: list[str] = field(default_factory=list)

    @property
    def challengers(self) -> list[Experiment]:
        """The experiments whose version is not the one before."""
        return [
            experiment
            for experiment in self.experiments
            if experiment.version and experiment.version["version"] != self.before.versions.get(experiment.name)
        ]

    def title(self) -> str:
        """Return what became of the challengers, in a few words."""
        return self._of_each(outcome)

    def summary(self) -> str:
        """Return the sentence to read in the morning: the same, with the reasons."""
        return self._of_each(verdict)

    def _of_each(self, words: Callable[[Experiment], str]) -> str:
        found = [words(experiment) for experiment in self.challengers]
        if not found:
            return "no new model version"
        return f"{len(found)} challenger{'s' * (len(found) > 1)}: {', '.join(found)}"


def verdict(experiment: Experiment) -> str:
    """Return what became of a version, such as `caption v4 promoted (bleu_4 +0.012)`; why it was rejected in full."""
    decision = experiment.version.get("decision", {})
    metric, gain = decision.get("metric"), decision.get("gain")
    promoted = bool(decision.get("promote"))
    if promoted and gain is not None:
        why = f"{metric} {gain:+.3f}"
    elif promoted and decision.get("challenger") is not None:
        why = f"{metric} {decision['challenger']:.3f}, no champion before"
    else:
        why = "; ".join(decision.get("reasons", [])) or "no reason given"
    return f"{outcome(experiment)} ({why})"


def outcome(experiment: Experiment) -> str:
    """Return the same without the reasons."""
    word = "promoted" if experiment.version.get("decision", {}).get("promote") else "rejected"
    return f"{experiment.name} v{experiment.version['version']} {word}"


def rows(report: Report) -> list[dict[str, Any]]:
    """Return one row an experiment: its version against the champion that it was compared with."""
    return [_row(experiment, experiment in report.challengers) for experiment in report.experiments]


def _row(experiment: Experiment, is_new: bool) -> dict[str, Any]:
    version, decision = experiment.version, experiment.version.get("decision", {})
    metric = decision.get("metric") or experiment.headline
    value = decision.get("challenger")
    decided = "promoted" if decision.get("promote") else "rejected"
    return {
        "experiment": experiment.name,
        "version": version.get("version"),
        "alias": ", ".join(version.get("aliases", [])) or "none",
        "metric": metric,
        "model": _rounded(experiment.numbers.get(metric or "") if value is None else value),
        "champion": _rounded(decision.get("champion")),
        "gain": _rounded(decision.get("gain")),
        "decision": decided if is_new else f"as before ({decided})" if version else "not registered",
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def page(report: Report, provenance: list[str], tracking_uri: str) -> str:
    """Return the whole report as Markdown.

    Args:
        report: What happened.
        provenance: Lines on where the models come from.
        tracking_uri: Where MLflow is; pages there are linked when it is an address.
    """
    lines = [f"# {'Failed' if report.failures else report.title()}", ""]
    for failure in report.failures:
        lines += ["```", failure, "```", ""]
    lines += ["## What was new", "", *(f"- {line}" for line in report.news or ["nothing: the run was forced"]), ""]
    lines += ["## What ran", "", "| stage | outcome | seconds |", "|---|---|---:|"]
    lines += [f"| {name} | {outcome} | {seconds:.1f} |" for name, outcome, seconds in report.stages]
    lines += ["", "## Where the models come from", "", *provenance]
    for experiment in report.experiments:
        lines += ["", f"## {experiment.title}", "", *_model_lines(experiment, experiment in report.challengers)]
        lines += _links(experiment, tracking_uri)
    return "\n".join(lines)


def _model_lines(experiment: Experiment, is_new: bool) -> list[str]:
    if not experiment.version:
        return ["- not registered"]
    decision = experiment.version.get("decision", {})
    first = verdict(experiment) if is_new else "no new version in this run"
    return [f"- {first}", *(f"- {reason}" for reason in decision.get("reasons", []) if reason not in first)]


def _links(experiment: Experiment, tracking_uri: str) -> list[str]:
    version, lines = experiment.version, []
    if version and re.match("https?://", tracking_uri):
        base = shown(tracking_uri).rstrip("/")
        lines += [f"- [MLflow run]({base}/#/runs/{version['run_id']})"]
        lines += [f"- [model version]({base}/#/models/{version['name']}/versions/{version['version']})"]
    elif version:
        lines += [f"- MLflow run `{version['run_id']}`"]
        lines += [f"- score and lineage: `.venv/bin/python -m stages.register --list`, {version['name']}"]
    return [*lines, f"- samples: `{SAMPLES.format(name=experiment.name)}`"]


def curves_png(curves: dict[str, list[dict[str, str]]], before: dict[str, list[dict[str, str]]]) -> bytes | None:
    """Draw the validation loss of each experiment, dashed that of the run before; None when there is none."""
    drawn = {name: found for name, found in curves.items() if found and Y in found[0]}
    if not drawn:
        return None
    import matplotlib
    from matplotlib.figure import Figure

    names = list(drawn)[:MOST_CURVES]
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(4 * columns, 2.4 * lines), layout="constrained", dpi=100)
        for axes, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names, strict=False):
            _draw(axes, name, drawn[name], before.get(name, []))
        for axes in figure.axes[len(names) :]:
            axes.set_axis_off()
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _draw(axes: Any, name: str, now: list[dict[str, str]], before: list[dict[str, str]]) -> None:
    if before and Y in before[0] and before != now:
        axes.plot(*_points(before), "--", color="#868e96", label="the run before")
    axes.plot(*_points(now), color="#e8590c", marker=".", label="now")
    axes.set_title(name)
    axes.set_xlabel(X)
    axes.set_ylabel("validation loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _points(curve: list[dict[str, str]]) -> tuple[list[float], list[float]]:
    return [float(row[X]) for row in curve], [float(row[Y]) for row in curve]
