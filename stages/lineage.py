"""Where a model version comes from: commit, data, params, lock file and environment, as tags."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.params import Params
from stages.store import MANIFEST, METRICS, SPLITS, artifact_path, digest, read_manifest, sha256_file

PREFIX = "fuseline."
DIGEST_TAG = f"{PREFIX}digest"  # equal digests are the same model: it is registered once
TEST_DATA_TAG = f"{PREFIX}test_data"  # equal ones were evaluated on the same samples


def version_digest(name: str) -> str:
    """Return the digest of a trained and evaluated model: equal for equal bytes."""
    return digest([sha256_file(artifact_path(stage, name) / MANIFEST) for stage in ("train", "evaluate")])


def test_data_digest(dataset: str) -> str:
    """Return the digest of a data set's prepared test split."""
    files = read_manifest(artifact_path("prepare", dataset))["files"]
    return digest({name: entry["sha256"] for name, entry in files.items() if name.startswith(f"{SPLITS[2]}-")})


def lineage_tags(params: Params, name: str, root: Path = Path()) -> dict[str, str]:
    """Return the tags of a version of this experiment."""
    experiment = params.experiments[name]
    features = experiment.inputs.used().values()
    stages = [
        f"download@{experiment.dataset}",
        f"prepare@{experiment.dataset}",
        *(f"features@{feature}" for feature in features),
        f"train@{name}",
        f"evaluate@{name}",
    ]
    environment = root / "requirements.lock"
    tags = {
        "digest": version_digest(name),
        "experiment": name,
        "dataset": experiment.dataset,
        "task": experiment.task,
        "headline": json.loads((artifact_path("evaluate", name) / METRICS).read_text("utf8"))["settings"]["headline"],
        "git_commit": _git(root, "rev-parse", "HEAD") or "none",
        "git_dirty": str(bool(_git(root, "status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc_lock": _lock_digest(root / "dvc.lock", stages),
        "data": sha256_file(artifact_path("prepare", experiment.dataset) / MANIFEST),
        TEST_DATA_TAG.removeprefix(PREFIX): test_data_digest(experiment.dataset),
        "params": digest(_used_params(params, name)),
        "environment": sha256_file(environment) if environment.exists() else "none",
    }
    return {PREFIX + key: value for key, value in tags.items()}


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
    }


def _lock_digest(path: Path, stages: list[str]) -> str:
    """Return the digest of these stages' entries; a run outside DVC has none."""
    if not path.exists():
        return "none"
    entries = YAML(typ="safe").load(path.read_text(encoding="utf8")).get("stages", {})
    return digest({stage: entries[stage] for stage in stages}) if set(stages) <= set(entries) else "incomplete"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
