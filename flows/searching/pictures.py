"""The pictures of a search: how its scores went, and what they depend on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from flows.searching.study import METRIC, ended

COLOUR, OTHER = "#e8590c", "#868e96"
SETTINGS: Any = {"font.size": 9, "figure.dpi": 120}


@contextmanager
def _axes(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """Yield axes to draw on; the same drawing makes the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=size)
        axes = figure.subplots()
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


def draw_history(path: Path, study: optuna.Study, experiment: str) -> None:
    """Draw each trial's score, the best so far as a line, and the first trial's, which changes nothing."""
    better = min if study.direction is optuna.study.StudyDirection.MINIMIZE else max
    trials = list(enumerate(ended(study), start=1))
    scores = {n: float(trial.value or 0.0) for n, trial in trials if trial.state is TrialState.COMPLETE}
    pruned = {number: trial.value for number, trial in trials if trial.state is TrialState.PRUNED and trial.value}
    so_far: list[float] = []
    for score in scores.values():
        so_far.append(better([*so_far[-1:], score]))
    with _axes(path, (6, 3.2)) as axes:
        if 1 in scores:
            axes.axhline(scores[1], color=OTHER, linestyle=":", label="params.yaml as it stands")
        axes.plot(list(scores), list(scores.values()), "o", color=COLOUR, markersize=5, label="complete")
        if pruned:
            axes.plot(list(pruned), list(pruned.values()), "x", color=OTHER, markersize=6, label="pruned, last epoch")
        steps = ([*scores, len(trials)], [*so_far, so_far[-1]])
        axes.step(*steps, where="post", color=COLOUR, alpha=0.5, label="best so far")
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{experiment}: {study.user_attrs[METRIC]} (validation)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def draw_importances(path: Path, experiment: str, shares: dict[str, float]) -> None:
    """Draw each value's share as a bar, the largest on top."""
    with _axes(path, (6, 0.8 + 0.32 * len(shares))) as axes:
        bars = axes.barh(range(len(shares)), list(shares.values()), color=COLOUR)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.set_xlabel(f"{experiment}: share of what the score varies by (fANOVA)")
        axes.grid(axis="x", alpha=0.3)
