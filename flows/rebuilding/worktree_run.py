"""A version's stages run again in a worktree at its commit, apart from the project's own cache and stores."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.graph.checkout import git, run_dvc, share
from flows.graph.dependencies import dependencies
from flows.graph.dvc_stages import StageError, StageRun
from flows.rebuilding.comparison import Comparison, Found, compare, read_found
from flows.rebuilding.version import Version
from stages.base.addresses import with_credentials
from stages.base.store import BASES_PLACE, MANIFEST, METRICS, artifact_path, bases_folder
from stages.params import Params, load_params
from stages.registry.lineage import LOCK_FILE, lock_entries
from stages.registry.lineage_files import DIFF, MANIFESTS, PARAMS_FILE

STARTS = artifact_path("start", "")
RAN, AGAIN = "ran", "downloaded again"

Tell = Callable[[str], None]


def lay_out(root: Path, tree: Path, version: Version) -> Params:
    """Put into a worktree what is not in its commit: uncommitted changes, params, lock, DVC's cache; return params."""
    if version.file(DIFF).stat().st_size:
        git(Path(git(tree, "rev-parse", "--show-toplevel")), "apply", "--whitespace=nowarn", str(version.file(DIFF)))
    known = root / PARAMS_FILE
    text = version.file(PARAMS_FILE).read_text("utf8")
    (tree / PARAMS_FILE).write_text(
        with_credentials(text, known.read_text("utf8")) if known.exists() else text, encoding="utf8"
    )
    shutil.copyfile(version.file(LOCK_FILE), tree / LOCK_FILE)
    if (starts := version.files.parent / STARTS).exists():
        shutil.copytree(starts, tree / STARTS)
    params = load_params(tree / PARAMS_FILE)
    share(root, tree, params.data_folders(version.name))
    return params


def restore(tree: Path, stage: str, tell: Tell) -> str:
    """Bring a stage's outputs by the lock; return from where, or nothing when they are nowhere."""
    places = {"checkout": "DVC's cache", "pull": "DVC's remote"}
    if not any(run_dvc(tree, ["config", "core.remote"])):
        places.pop("pull")
    for command, place in places.items():
        try:
            run_dvc(tree, [command, stage])
            return place
        except StageError as error:
            tell(f"{stage}: dvc {command} failed: {' '.join(error.reason.split())}")
    return ""


def run_stages(tree: Path, version: Version, wanted: list[tuple[str, str]], out: Console) -> list[Comparison]:
    """Make what the version's last stage needs, in order, and return how each wanted stage compares."""
    known = lock_entries(version.file(LOCK_FILE), wanted)
    made = _make(tree, _needed(dependencies(tree), f"evaluate@{version.name}"), known, out)
    return [
        compare(address, *made[address], _before(version, known, stage, item), _after(tree, stage, item))
        for stage, item in wanted
        for address in [f"{stage}@{item}"]
    ]


def _before(version: Version, known: dict[str, Any], stage: str, item: str) -> Found:
    manifest = version.file(MANIFESTS) / stage / f"{item}.json"
    return read_found(known.get(f"{stage}@{item}", {}), manifest, version.metrics if stage == "evaluate" else None)


def _after(tree: Path, stage: str, item: str) -> Found:
    entries, folder = lock_entries(tree / LOCK_FILE, [(stage, item)]), tree / artifact_path(stage, item)
    return read_found(
        entries.get(f"{stage}@{item}", {}), folder / MANIFEST, folder / METRICS if stage == "evaluate" else None
    )


def _needed(graph: dict[str, list[str]], target: str) -> list[str]:
    """Return a stage with those that it needs, in order."""
    needed = {target}
    for name in reversed(graph):
        if name in needed:
            needed.update(graph[name])
    return [name for name in graph if name in needed]


def _make(tree: Path, stages: list[str], known: Iterable[str], out: Console) -> dict[str, tuple[str, float]]:
    """Bring raw data by the lock or else anew, and run every other stage; return how, and the seconds, of each."""
    made: dict[str, tuple[str, float]] = {}
    tell = _Lines(out)
    for stage in stages:
        start = time.monotonic()
        if _is_raw(stage) and stage in known and (place := restore(tree, stage, tell)):
            made[stage] = (place, time.monotonic() - start)

    def done(run: StageRun) -> None:
        made[run.name] = (AGAIN if _is_raw(run.name) else RAN, run.seconds)

    # Uncommitted, so that nothing of it gets into the shared cache: the run cache would offer it to the project.
    arguments = ["repro", "--single-item", "--force", "--no-commit", *(stage for stage in stages if stage not in made)]
    if not out.is_terminal:
        run_dvc(tree, arguments, tell, done)
    else:
        with out.status("dvc repro") as status:
            run_dvc(tree, arguments, tell, done, lambda name, part: status.update(f"{name} {part:.0%}"))
    return made


def _is_raw(stage: str) -> bool:
    return stage.startswith("download@")


class _Lines:
    """Prints the lines of stages, without DVC's advice on git after each."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._is_advice = False

    def __call__(self, line: str) -> None:
        self._is_advice = not line.startswith("Running stage") and (self._is_advice or line.startswith("Updating lock"))
        if not self._is_advice:
            self._out.print(Text.from_ansi(line), soft_wrap=True)


@contextmanager
def apart(tree: Path) -> Iterator[None]:
    """Let MLflow and DVC keep in the worktree what they write elsewhere otherwise; bases are the project's."""
    own = {
        BASES_PLACE: str(bases_folder().absolute()),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tree / 'artifacts' / 'mlflow' / 'mlflow.db'}",
        "DVC_SITE_CACHE_DIR": str(tree / ".dvc" / "tmp" / "site_cache"),
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
