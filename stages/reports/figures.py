"""Pictures of an evaluation: the model beside its baselines, and where it errs; `dvc plots` shows them."""

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from stages.models.metrics.classification import confusion
from stages.models.tasks import Task

MOST_CLASSES_WITH_NUMBERS = 20
LAST_RESORT = "Last Resort High-Efficiency"  # a font of matplotlib's that draws a box for every letter there is
SETTINGS: Any = {"font.size": 9, "figure.dpi": 120}


def write_figures(
    folder: Path, task: Task, answers: list[dict[str, Any]], rows: list[dict[str, Any]], metrics: dict[str, Any]
) -> None:
    """Write `comparison.png`, `confusion.png` for tasks with labels, and `predicted.png` for those with numbers."""
    with matplotlib.rc_context(SETTINGS):
        _save(_comparison(metrics), folder / "comparison.png")
        if "label" in task.needed and "label" in answers[0]:
            said = [answer["label"] for answer in answers]
            _save(_confusion([row["label"] for row in rows], said), folder / "confusion.png")
        if "numbers" in task.needed:
            _save(_predicted(answers, rows), folder / "predicted.png")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


def _comparison(metrics: dict[str, Any]) -> Figure:
    headline = metrics["settings"]["headline"]
    rows = {"model": metrics, **metrics["baselines"], **({"ceiling": metrics["ceiling"]} if metrics["ceiling"] else {})}
    names = [name.replace("_", " ") for name in rows]
    values = [found[headline] for found in rows.values()]
    figure = Figure(figsize=(6, 0.5 + 0.32 * len(rows)))
    axes = figure.subplots()
    bars = axes.barh(names, values, color=["#e8590c", *["#868e96"] * (len(rows) - 1)])
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(headline.replace("_", " "))
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _predicted(answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Figure:
    """Draw each number as it is said over what it is, with its interval; what lies off it is orange."""
    names = answers[0]["names"]
    figure = Figure(figsize=(4.2 * len(names), 4))
    for place, (name, axes) in enumerate(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True)):
        known = [(dict(row["numbers"]).get(name), answer) for row, answer in zip(rows, answers, strict=True)]
        found = [
            (x, *(answer[key][place] for key in ("numbers", "low", "high"))) for x, answer in known if x is not None
        ]
        true, said, low, high = np.array(found).T.reshape(4, -1)
        for inside, colour in ((True, "#868e96"), (False, "#e8590c")):
            at = ((low <= true) & (true <= high)) == inside
            ends = [said[at] - low[at], high[at] - said[at]]
            axes.errorbar(true[at], said[at], ends, fmt=".", color=colour, elinewidth=0.4, markersize=3)
        axes.axline((true.mean(), true.mean()), slope=1, color="black", linewidth=0.6)
        axes.set_xlabel(f"true {drawable([name])[0][0]}")
        axes.set_ylabel("predicted")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _confusion(labels: list[str], predictions: list[str]) -> Figure:
    classes = sorted({*labels, *predictions})
    counts = confusion(labels, predictions, classes)[:-1]  # the last row is of unknown labels, and there are none
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(3.0, min(12.0, 0.42 * len(classes)))
    names, fonts = drawable(classes)
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Oranges", vmin=0, vmax=1)
    if len(classes) <= MOST_CLASSES_WITH_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=7)
    axes.set_xticks(range(len(classes)), names, rotation=90, fontfamily=fonts)
    axes.set_yticks(range(len(classes)), names, fontfamily=fonts)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true" if names == classes else "true ([...]: letters that no font here has)")
    return figure


def drawable(names: list[str]) -> tuple[list[str], list[str]]:
    """Return names with what no installed font can draw as `[code points]`, and the fonts that draw the rest."""
    missing = set().union(*names) - _letters(findfont(FontProperties()))
    fonts = list(matplotlib.rcParams["font.family"])
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)) if missing else ():
        if font.size == "scalable" and font.name != LAST_RESORT and (found := missing & _letters(font.fname)):
            missing -= found
            fonts.append(font.name)
    if not missing:
        return names, fonts
    strange = re.compile(f"[{re.escape(''.join(sorted(missing)))}]+")
    return [strange.sub(lambda part: f"[{' '.join(f'{ord(c):X}' for c in part[0])}]", name) for name in names], fonts


def _letters(path: str) -> set[str]:
    return {chr(code) for code in get_font(path).get_charmap()}
