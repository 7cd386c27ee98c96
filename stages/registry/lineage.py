"""Where a model version comes from: commit, data, params, lock file and environment, as tags."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.base.store import MANIFEST, METRICS, SPLITS, artifact_path, digest, dvc_locked, read_manifest, sha256_file
from stages.params import NONE, Params
from stages.pretrained.bases import references

PREFIX = "fuseline."
LOCK_FILE = "dvc.lock"
REQUIREMENTS_LOCK = "requirements.lock"
DIGEST_TAG = f"{PREFIX}digest"  # equal digests are the same model: it is registered once
TEST_DATA_TAG = f"{PREFIX}test_data"  # equal ones were evaluated on the same samples


def version_digest(name: str, root: Path = Path()) -> str:
    """Return the digest of a trained and evaluated model in a project: equal for equal bytes."""
    return digest([sha256_file(root / artifact_path(stage, name) / MANIFEST) for stage in ("train", "evaluate")])


def test_data_digest(dataset: str) -> str:
    """Return the digest of a data set's prepared test split."""
    files = read_manifest(artifact_path("prepare", dataset))["files"]
    return digest({name: entry["sha256"] for name, entry in files.items() if name.startswith(f"{SPLITS[2]}-")})


def version_stages(params: Params, name: str) -> list[tuple[str, str]]:
    """Return (stage, name) of every artifact that a version of this experiment comes from, in order."""
    stages = [stage for trained in params.trained_for(name) for stage in _training_stages(params, trained)]
    return [*dict.fromkeys(stages), ("evaluate", name)]


def _training_stages(params: Params, name: str) -> list[tuple[str, str]]:
    experiment = params.experiments[name]
    return [
        ("download", experiment.dataset),
        ("prepare", experiment.dataset),
        *(("features", feature) for feature in experiment.inputs.used().values()),
        ("train", name),
    ]


def lineage_tags(params: Params, name: str, root: Path = Path()) -> dict[str, str]:
    """Return the tags of a version of this experiment."""
    experiment = params.experiments[name]
    tags = {
        "digest": version_digest(name),
        "experiment": name,
        "dataset": experiment.dataset,
        "task": experiment.task,
        "headline": json.loads((artifact_path("evaluate", name) / METRICS).read_text("utf8"))["settings"]["headline"],
        "git_commit": commit_of(root) or "none",
        "git_dirty": str(bool(git_output(root, "status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc_lock": _lock_digest(root, version_stages(params, name)),
        "data": sha256_file(artifact_path("prepare", experiment.dataset) / MANIFEST),
        TEST_DATA_TAG.removeprefix(PREFIX): test_data_digest(experiment.dataset),
        "params": digest(_used_params(params, name)),
        "environment": environment_digest(root),
        **_start_tags(name),
        **base_tags(artifact_path("train", name)),
    }
    return {PREFIX + key: value for key, value in tags.items()}


def _start_tags(name: str) -> dict[str, str]:
    """Return the tags of the trained model that this one began with, if any: whose it is, and its weights' digest."""
    kept = read_manifest(artifact_path("train", name))["settings"].get("init", {})
    return {key if key == "init" else f"init_{key}": str(value) for key, value in kept.items()}


def base_tags(model: Path) -> dict[str, str]:
    """Return the tags of what a trained model refers to, by its place: which model, whose licence, which bytes."""
    return {
        f"base.{place.name}": f"{base.model}{f' {base.revision}' if base.revision else ''}, licence {base.licence}, "
        f"sha256 {base.digest}"
        for place, base in references(model).items()
    }


def _used_params(params: Params, name: str) -> dict[str, Any]:
    """Return the sections that this experiment depends on."""
    experiment = params.experiments[name]
    return {
        "base": params.base.model_dump(),
        "dataset": params.datasets[experiment.dataset].model_dump(),
        "prepare": params.prepare.model_dump(),
        "features": [params.features[f].model_dump() for f in experiment.inputs.used().values()],
        "experiment": experiment.model_dump(),
        "train": params.train_of(name).model_dump(),
        "evaluate": params.evaluate.model_dump(),
        **{f"answers_{m}": _used_params(params, other) for m, other in params.answering(name).items()},
        **({"init": _used_params(params, experiment.init)} if experiment.init != NONE else {}),
    }


def environment_digest(root: Path) -> str:
    """Return the digest of the lock of packages."""
    lock = root / REQUIREMENTS_LOCK
    return sha256_file(lock) if lock.exists() else "none"


def lock_entries(path: Path, stages: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what a dvc.lock has of these stages, by address."""
    if not path.exists():
        return {}
    entries = (YAML(typ="safe").load(path.read_text(encoding="utf8")) or {}).get("stages", {})
    addresses = [f"{stage}@{name}" for stage, name in stages]
    return {address: entries[address] for address in addresses if address in entries}


def project_lock_entries(root: Path, stages: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what `lock_entries` does of a project in which other stages may end meanwhile.

    DVC writes the file in place, under its own lock, which it gives up while a stage runs: this waits for it.
    """
    if not (root / ".dvc").is_dir():
        return lock_entries(root / LOCK_FILE, stages)
    with dvc_locked(root):
        return lock_entries(root / LOCK_FILE, stages)


def _lock_digest(root: Path, stages: list[tuple[str, str]]) -> str:
    """Return the digest of these stages' entries; a run outside DVC has none."""
    if not (root / LOCK_FILE).exists():
        return "none"
    entries = project_lock_entries(root, stages)
    return digest(entries) if len(entries) == len(stages) else "incomplete"


def commit_of(root: Path) -> str:
    """Return the commit that is checked out; empty outside of git."""
    return (git_output(root, "rev-parse", "HEAD") or b"").decode().strip()


def git_output(root: Path, *arguments: str, **environment: str) -> bytes | None:
    """Return what git prints; None where it fails."""
    command, variables = ["git", *arguments], {**os.environ, **environment}
    try:
        done = subprocess.run(command, cwd=root, env=variables, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
