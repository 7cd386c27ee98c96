"""What a fusion bench writes: every cell as CSV, a table of means in Markdown, a picture of both."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

RUNS, TABLE, PICTURE = "runs.csv", "table.md", "fusion_bench.png"
FUSION_COLOUR, SINGLE_COLOUR = "#e8590c", "#868e96"
SETTINGS: Any = {"font.size": 9, "figure.dpi": 120}


@dataclass(frozen=True)
class Result:
    """One cell; seconds and peak memory are None where the run cache had the training from outside the bench."""

    row: str
    is_fusion: bool
    seed: int
    metric: str
    score: float
    parameters: int
    train_seconds: float | None
    peak_mb: float | None


def write_report(folder: Path, experiment: str, fusion: str, results: list[Result]) -> None:
    """Write the three files; `fusion` is what the single modalities were trained with."""
    with (folder / RUNS).open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)
    rows = ordered(results)
    (folder / TABLE).write_text(table(experiment, fusion, rows), encoding="utf8")
    _draw(folder / PICTURE, experiment, rows)


def ordered(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the cells of each row by name: fusions by their mean score, the best first, then single modalities."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.row, []).append(result)
    return dict(sorted(rows.items(), key=lambda item: (not item[1][0].is_fusion, -_score(item[1]), item[0])))


def _score(cells: list[Result]) -> float:
    return mean(cell.score for cell in cells)


def table(experiment: str, fusion: str, rows: dict[str, list[Result]]) -> str:
    """Return the table of means; its last line names the fusions that do not beat the best single modality."""
    first = next(iter(rows.values()))
    metric = first[0].metric
    lines = [
        f"# Fusions on {experiment}",
        "",
        f"{metric} on the test split, mean ± standard deviation over seeds ({len(first)}); seconds and peak memory of",
        f"training, mean. A single modality has the same encoders, budget and seeds, and the fusion {fusion}.",
        "",
        f"| row | {metric} | parameters | seconds | peak MB |",
        "|---|---|---:|---:|---:|",
    ]
    for name, cells in rows.items():
        spread = f" ± {stdev(cell.score for cell in cells):.4f}" if len(cells) > 1 else ""
        lines.append(
            f"| {name.replace('_', ' ')} | {_score(cells):.4f}{spread} | {cells[0].parameters:,} "
            f"| {_mean(cell.train_seconds for cell in cells)} | {_mean(cell.peak_mb for cell in cells)} |"
        )
    return "\n".join([*lines, "", _verdict(rows)]) + "\n"


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{mean(known):.0f}" if known else "-"


def _verdict(rows: dict[str, list[Result]]) -> str:
    singles = {name: _score(cells) for name, cells in rows.items() if not cells[0].is_fusion}
    if not singles:
        return "The task cannot do with a single modality, so there is none to beat."
    best = max(singles, key=singles.__getitem__)
    behind = [name for name, cells in rows.items() if cells[0].is_fusion and _score(cells) <= singles[best]]
    against = f"the best single modality ({best.replace('_', ' ')}, {singles[best]:.4f})"
    if not behind:
        return f"On average every fusion beats {against}."
    return f"On average these fusions do not beat {against}: {', '.join(name.replace('_', ' ') for name in behind)}."


def _draw(path: Path, experiment: str, rows: dict[str, list[Result]]) -> None:
    """Draw each cell as a point and each row's mean as a stroke."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6, 0.8 + 0.32 * len(rows)))
        axes = figure.subplots()
        for place, cells in enumerate(rows.values()):
            colour = FUSION_COLOUR if cells[0].is_fusion else SINGLE_COLOUR
            axes.plot([cell.score for cell in cells], [place] * len(cells), "o", color=colour, alpha=0.5, markersize=5)
            axes.plot(_score(cells), place, "|", color=colour, markersize=14, markeredgewidth=2)
        axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{experiment}: {next(iter(rows.values()))[0].metric.replace('_', ' ')}")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
