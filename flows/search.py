"""Hyperparameter search: trials of one experiment by the ranges of search.yaml, scored on the validation split.

The first trial is params.yaml as it stands. A search that ends for any reason goes on where it was with the same
command; `TRIALS` counts in all. Nothing is applied and nothing registered: the best one is written as a diff.

Run it: `python -m flows.search <experiment> [--trials 12] [--file search.yaml] [--seeds 1] [--out folder]`.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ruamel.yaml import YAML

from flows.graph import settings
from flows.graph.checkout import cloned, git, snapshot
from flows.graph.dvc_stages import repro
from flows.graph.sessions import end_orphans_in
from flows.graph.terminal import console, end_on_signals, ended
from flows.searching.params_text import Value, edited
from flows.searching.report import BEST, STANDS, best_of, write_report
from flows.searching.space import Space, read_space
from flows.searching.study import Search, now_and_then, open_study, run_trials
from flows.searching.trials import Scores, Workplace, evaluate
from stages.base.errors import InputError
from stages.base.store import ARTIFACTS, SCRATCH, digest, locked
from stages.params import NONE, Params, load_params

DATA = ("prepare", "features", "train")  # stages whose outputs trials read


def main(arguments: list[str] | None = None) -> int:
    """Run the search, write its report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.search", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", help="a name in the section `experiments` of params.yaml")
    parser.add_argument("--trials", type=int, default=12, help="in all, those of earlier calls included (default: 12)")
    parser.add_argument("--file", type=Path, default=Path("search.yaml"), help="the ranges (default: search.yaml)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of the best and of what stands (default: 1)")
    parser.add_argument("--silence", type=float, default=30, help="minutes until a training counts as hanging (30)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: artifacts/search/<experiment>)")
    args = parser.parse_args(arguments)
    settings.apply()
    end_on_signals()
    args.file, args.out = args.file.absolute(), args.out.absolute() if args.out else None
    os.chdir(settings.project_root())
    show = console()

    def tell(line: str) -> None:
        show.print(line, markup=False, highlight=False, soft_wrap=True)

    kept = "trials that ended are kept, the same command goes on"
    return ended(lambda: tell(run(Path.cwd(), args, tell)), tell, kept)


def run(root: Path, args: argparse.Namespace, tell: Callable[[str], None]) -> str:
    """Search as the command line says, and return the table."""
    for name in ("trials", "seeds", "silence"):
        if getattr(args, name) <= 0:
            raise InputError(f"--{name}: got {getattr(args, name)}; expected more than 0")
    params, text = load_params(), Path("params.yaml").read_text(encoding="utf8")
    space = read_space(args.file, params, text, args.experiment)
    train = params.train_of(args.experiment)
    search = Search(space, text, train.seed, train.epochs, tell)
    folder = root / SCRATCH / "search" / args.experiment
    out = args.out or root / ARTIFACTS / "search" / args.experiment
    with locked(f"search-{args.experiment}"):
        end_orphans_in(root)
        shared = _shared(params, space)
        repro(root, tell, lambda run: None, shared)
        commit = snapshot(root)
        study = open_study(folder, search, train.monitor == "loss", _identity(root, commit, params, space, shared))
        with cloned(root, commit, folder / "clone", params.data_folders(args.experiment)) as clone:
            _keep_curves(folder, clone)
            place = Workplace(clone, args.experiment, train.monitor == "loss", args.silence * 60)
            try:
                run_trials(study, search, place, args.trials)
            finally:  # also of a search that is broken off
                told = write_report(out, study, search, {})
            best = best_of(study)
            texts = {STANDS: text, **({BEST: search.text(best)} if best and search.changes(best) else {})}
            for tested in _compared(place, texts, search, args.seeds if best else 0):
                told = write_report(out, study, search, tested)
    return told


def _shared(params: Params, space: Space) -> list[str]:
    """Return the stages that trials share: made in the project itself, so that its caches have them for good."""
    experiment, own = params.experiments[space.experiment], f"experiments.{space.experiment}."
    chosen: dict[str, set[Value]] = {"inputs": set(experiment.inputs.used().values()), "init": {experiment.init}}
    for key, choices in space.ranges.items():
        if isinstance(choices, tuple) and (section := key.removeprefix(own).partition(".")[0]) in chosen:
            chosen[section].update(choices)
    stages = {"inputs": "features", "init": "train"}
    return sorted(f"{stages[section]}@{name}" for section, names in chosen.items() for name in names - {NONE})


def _identity(root: Path, commit: str, params: Params, space: Space, shared: list[str]) -> dict[str, str]:
    """Return a digest of each thing that the scores of a search depend on, under the name a person knows it by."""
    name, yaml = space.experiment, YAML(typ="safe")
    experiment = params.experiments[name]
    lock = yaml.load((root / "dvc.lock").read_text(encoding="utf8"))["stages"]
    made = [lock[stage]["outs"] for stage in [f"prepare@{experiment.dataset}", *shared] if stage in lock]
    deps = yaml.load((root / "dvc.yaml").read_text(encoding="utf8"))["stages"]["train"]["do"]["deps"]
    code = [git(root, "rev-parse", f"{commit}:./{dep}") for dep in deps if not dep.startswith(f"{ARTIFACTS}/")]
    values = [experiment.model_dump(), params.train_of(name).model_dump(), params.base.hardware()]
    ranges = {key: found if isinstance(found, tuple) else found.model_dump() for key, found in space.ranges.items()}
    return {"ranges": digest(ranges), "params": digest(values), "data": digest(made), "code": digest(code)}


def _keep_curves(folder: Path, clone: Path) -> None:
    """Let trainings in the clone have a tracking store of the search's own: theirs are no models of the project."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    (folder / "mlflow").mkdir(exist_ok=True)
    (clone / ARTIFACTS).mkdir(exist_ok=True)
    (clone / ARTIFACTS / "mlflow").symlink_to(folder / "mlflow", target_is_directory=True)


def _compared(place: Workplace, texts: dict[str, str], search: Search, seeds: int) -> Iterator[dict[str, list[Scores]]]:
    """Train and evaluate each text with so many seeds, the first that of the trials; yield all scores at each seed."""
    found: dict[str, list[Scores]] = {name: [] for name in texts}
    for seed in range(search.seed, search.seed + seeds):
        for name, text in texts.items():
            key = f"experiments.{place.experiment}.train.seed"
            seeded = edited(text, {key: seed}) if seed != search.seed else text
            scores = evaluate(place, seeded, now_and_then(search.tell))
            found[name].append(scores)
            on_test = f"{scores.metric} {scores.test:.4f} on test"
            search.tell(f"{name}, seed {seed}: {scores.validation:.4f} on validation, {on_test}")
        yield found


if __name__ == "__main__":
    sys.exit(main())
