"""The README's table of results, generated from the committed files in results/.

`--collect <name>` copies what the stage `evaluate` wrote into results/<name>/, one file per experiment of
params.yaml, with the params that made it; then the table between the README's markers is written anew.

Run it: `python -m flows.results [--collect <name>]`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.graph import settings
from flows.graph.terminal import console
from stages.base.errors import InputError
from stages.base.store import MANIFEST, METRICS, artifact_path, read_manifest, write_json
from stages.params import load_params

FOLDER = Path("results")
README = Path("README.md")
START, END = "<!-- results -->", "<!-- /results -->"
HEADER = ("| data | experiment | task | metric | model | beside it | ceiling |", "|---|---|---|---|---:|---|---:|")
EMPTY = "No results are recorded yet: `python -m flows.results --collect <name>` records those of the last run."
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def collect(root: Path, name: str) -> list[Path]:
    """Copy the metrics of each evaluated experiment of params.yaml into results/<name>/; return the files.

    Raises:
        InputError: when the name is none for a folder, or no experiment was evaluated.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--collect: got {name!r}; expected small letters, digits, - and _")
    written = []
    for experiment in load_params(root / "params.yaml").experiments:
        evaluated = root / artifact_path("evaluate", experiment)
        if (evaluated / MANIFEST).exists():
            read_manifest(evaluated)
            metrics = json.loads((evaluated / METRICS).read_text("utf8"))
            params = read_manifest(root / artifact_path("train", experiment))["params"]
            written.append(root / FOLDER / name / f"{experiment}.json")
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            write_json(written[-1], {"metrics": metrics, "params": _anywhere(params)})
    if not written:
        raise InputError("artifacts/evaluate: no experiment of params.yaml was evaluated; run `make repro` first")
    return written


def _anywhere(value: Any) -> Any:
    """Return params with paths of this machine, such as a model's folder, as the names at their ends."""
    if isinstance(value, dict):
        return {key: _anywhere(item) for key, item in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def table(root: Path) -> str:
    """Return the Markdown table of all files in results/, in the order of their names."""
    rows = [_row(path) for path in sorted((root / FOLDER).glob("*/*.json"))]
    return "\n".join([*HEADER, *rows]) if rows else EMPTY


def _row(path: Path) -> str:
    found = json.loads(path.read_text("utf8"))
    metrics, metric = found["metrics"], found["metrics"]["settings"]["headline"]
    ceiling = metrics["ceiling"].get(metric)
    cells = (
        path.parent.name,
        path.stem,
        found["params"]["experiment"]["task"],
        metric,
        f"**{metrics[metric]:.3f}**",
        ", ".join(_beside(metrics["baselines"], metric)) or "-",
        "-" if ceiling is None else f"{ceiling:.3f}",
    )
    return f"| {' | '.join(cells)} |"


def _beside(baselines: dict[str, dict[str, Any]], metric: str) -> Iterator[str]:
    """Yield each baseline row as words, such as `only image 0.473`."""
    for name in sorted(baselines):
        if metric in baselines[name]:
            yield f"{name.replace('_', ' ')} {baselines[name][metric]:.3f}"


def filled(readme: str, table: str) -> str:
    """Return the README with the table between the markers.

    Raises:
        InputError: when it has not each marker once, in order.
    """
    if readme.count(START) != 1 or readme.count(END) != 1 or readme.index(START) > readme.index(END):
        raise InputError(f"{README}: expected {START} and, after it, {END}, each once")
    before, rest = readme.split(START)
    return f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}"


def main(arguments: list[str] | None = None) -> int:
    """Collect if asked to, and write the README's table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.results", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--collect", metavar="NAME", help="copy the metrics of the last run into results/NAME/ first")
    name = parser.parse_args(arguments).collect
    root, show = settings.project_root(), console()
    try:
        written = collect(root, name) if name is not None else []
        readme = root / README
        readme.write_text(filled(readme.read_text("utf8"), table(root)), encoding="utf8")
    except InputError as error:
        show.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    for path in [*written, readme]:
        show.print(f"wrote {path.relative_to(root)}", markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
