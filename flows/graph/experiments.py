"""What the stages wrote about each experiment, and the commit and lock that they come from."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADLINES = ("bleu_4", "accuracy")


@dataclass(frozen=True)
class Experiment:
    """What the stages `evaluate` and `register` wrote about one experiment; empty where they did not."""

    name: str
    metrics: dict[str, Any]
    version: dict[str, Any]

    @property
    def headline(self) -> str | None:
        """The metric to show first: the one that the evaluation names, else the first known one."""
        named = self.metrics.get("settings", {}).get("headline")
        names = (named, *HEADLINES, *self.numbers)
        return next((name for name in names if name in self.numbers), None)

    @property
    def numbers(self) -> dict[str, float]:
        """The model's own metrics, without the number of samples."""
        return {
            name: value
            for name, value in self.metrics.items()
            if isinstance(value, int | float) and name != "num_samples"
        }

    @property
    def title(self) -> str:
        """The model version with its aliases, such as `caption v3 (champion)`."""
        if not self.version:
            return f"{self.name} (not registered)"
        aliases = ", ".join(self.version.get("aliases", []))
        return f"{self.version['name']} v{self.version['version']}" + (f" ({aliases})" if aliases else "")


def experiments(root: Path, stages: Iterable[str] | None = None) -> list[Experiment]:
    """Read what is known of each experiment, by name; with `stages`, only of those with such a stage."""
    metrics = _by_experiment(root / "artifacts" / "evaluate", "metrics.json")
    versions = _by_experiment(root / "artifacts" / "register", "version.json")
    names = sorted(metrics.keys() | versions.keys())
    if stages is not None:  # the artifacts of an experiment that left params.yaml stay on the disk
        known = {stage.partition("@")[2] for stage in stages}
        names = [name for name in names if name in known]
    return [Experiment(name, metrics.get(name, {}), versions.get(name, {})) for name in names]


def _by_experiment(folder: Path, file_name: str) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text("utf8")) for path in sorted(folder.glob(f"*/{file_name}"))}


def provenance(root: Path) -> list[str]:
    """Return the git commit and the digest of dvc.lock, as lines of a list."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # an image of a work pool without git
        commit = ""
    lock = root / "dvc.lock"
    return [
        f"- git commit: `{commit or 'none'}`",
        f"- dvc.lock sha256: `{hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else 'none'}`",
    ]
