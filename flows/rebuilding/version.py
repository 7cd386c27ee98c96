"""A registered version with what its run kept for a rebuild, and what may make a difference before anything runs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph.checkout import git
from flows.graph.dvc_stages import StageError
from stages.base.errors import InputError
from stages.base.store import METRICS
from stages.registry.lineage import PREFIX, environment_digest
from stages.registry.lineage_files import DIFF, ENVIRONMENT, LINEAGE, MANIFESTS, environment
from stages.registry.start import start_from


@dataclass(frozen=True)
class Version:
    """A registered version, with the files of its run: `lineage/` and the metrics."""

    name: str
    number: str
    tags: dict[str, str]
    files: Path
    metrics: Path

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"version {self.number} of {self.name}"

    def file(self, name: str) -> Path:
        """Return the place of a file of `lineage/`."""
        return self.files / name


def read_version(name: str, number: str, folder: Path) -> Version:
    """Read a version, given by number or alias, and fetch its files into a folder.

    Raises:
        InputError: there is no such version, or it lacks what a rebuild needs.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    from stages.base.tracking import client
    from stages.registry.registry import aliases

    mlflow_client = client()
    number = str(aliases(mlflow_client, name).get(number, number))
    try:
        found = mlflow_client.get_model_version(name, number)
    except MlflowException:
        raise InputError(
            f"{name!r} has no version {number!r}; `python -m stages.register --list` shows what there is"
        ) from None
    tags = {key.removeprefix(PREFIX): value for key, value in found.tags.items()}
    version = Version(name, number, tags, folder / LINEAGE, folder / "evaluate" / METRICS)
    if tags.get("git_commit", "none") == "none":
        raise InputError(f"{version.title} was registered outside of git, so that its code is not known")
    if any(item.path == LINEAGE for item in mlflow_client.list_artifacts(found.run_id)):
        for path in (LINEAGE, "evaluate"):
            mlflow.artifacts.download_artifacts(run_id=found.run_id, artifact_path=path, dst_path=str(folder))
    if not version.file(DIFF).exists():
        raise InputError(
            f"{version.title} has no {LINEAGE}/{DIFF} among the files of its run: it was registered before those were "
            "kept, or with too many uncommitted changes, so that its code is not known"
        )
    _fetch_starts(mlflow_client, version, folder)
    return version


def _fetch_starts(mlflow_client: Any, version: Version, folder: Path) -> None:
    """Fetch the models that its trainings went on from, each to where it lay in the project.

    Raises:
        InputError: one of them is not in the registry any more.
    """
    for path in sorted((version.file(MANIFESTS) / "train").glob("*.json")):
        start = json.loads(path.read_text("utf8"))["settings"].get("init", {})
        if "version" in start:
            try:
                start_from(mlflow_client, start["init"], start["version"], folder)
            except InputError as error:
                raise InputError(f"{version.title} cannot be rebuilt without what it went on from: {error}") from None


def check_commit(root: Path, version: Version) -> None:
    """Hold that this repository has the version's commit.

    Raises:
        InputError: it has not.
    """
    commit = version.tags["git_commit"]
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except StageError:
        raise InputError(
            f"{version.title} was made from commit {commit}, which this repository does not have: fetch the branch "
            "that holds it (git fetch --all, or --unshallow), or run this in the clone where it was registered"
        ) from None


def notes(root: Path, version: Version) -> Iterator[str]:
    """Yield what may make a difference before anything runs: other packages, another kind of machine."""
    if version.tags.get("environment") != environment_digest(root):
        yield "requirements.lock is another than the version's; today's packages are used"
    before = json.loads(version.file(ENVIRONMENT).read_text("utf8"))
    now = environment(before["packages"])
    packages = before.pop("packages")
    for package, known in packages.items():
        if now["packages"][package] != known:
            yield f"{package} {known} made the version, {now['packages'][package]} is installed"
    for kind, known in before.items():
        if now[kind] != known:
            yield f"the version was made with the {kind} {known}, here it is {now[kind]}: numbers may round otherwise"
