"""Every fusion on one data set with one budget, over several seeds, beside each modality alone.

Each cell (a row and a seed) is a DVC experiment of its own (`flows.bench.cells`).

Run it: `python -m flows.fusion_bench <experiment> [--fusions a,b] [--seeds 5] [--out folder]`.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from flows.bench.cells import Bench, make_bench, run
from flows.bench.report import write_report
from flows.graph import settings
from flows.graph.checkout import cloned, snapshot
from flows.graph.dvc_stages import repro
from flows.graph.terminal import console, end_on_signals, ended
from stages.base.store import ARTIFACTS, SCRATCH, locked
from stages.base.tracking import tracking_uri
from stages.params import Params, load_params


def main(arguments: list[str] | None = None) -> int:
    """Run the bench, write its table and picture; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.fusion_bench", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("experiment", help="a name in the section `experiments` of params.yaml")
    parser.add_argument("--fusions", default="", help="names joined by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each row (default: 5)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: artifacts/fusion_bench/<experiment>)")
    args = parser.parse_args(arguments)
    settings.apply()
    end_on_signals()
    out = (args.out or settings.project_root() / ARTIFACTS / "fusion_bench" / args.experiment).absolute()
    os.chdir(settings.project_root())
    show = console()

    def tell(line: str) -> None:
        show.print(line, markup=False, highlight=False, soft_wrap=True)

    def work() -> None:
        params = load_params()
        bench = make_bench(params, args.experiment, [name for name in args.fusions.split(",") if name], args.seeds)
        tell((_run_all(Path.cwd(), params, bench, out, tell) / "table.md").read_text("utf8"))

    return ended(work, tell, "finished cells are kept, the same command goes on")


def _run_all(root: Path, params: Params, bench: Bench, out: Path, tell: Callable[[str], None]) -> Path:
    """Bring up to date what all cells share, run them, and return the folder with the report."""
    experiment = params.experiments[bench.experiment]
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri())  # live curves beside those of other trainings
    out.mkdir(parents=True, exist_ok=True)
    with locked(f"fusion_bench-{bench.experiment}"):
        shared = [f"features@{feature}" for feature in experiment.inputs.used().values()]
        repro(root, tell, lambda run: None, shared)
        folder = root / SCRATCH / "fusion_bench" / bench.experiment
        with cloned(root, snapshot(root), folder, params.data_folders(bench.experiment)) as clone:
            results = run(root, bench, clone, out, tell)
    write_report(out, bench.experiment, experiment.fusion, results)
    return out


if __name__ == "__main__":
    sys.exit(main())
