"""A committed project with toy stages, for flows that work in clones: a real git, a real DVC, the real params.yaml."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import dvc
from tests.support.small_data import PROJECT, write_params


def git(root: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity}
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def make_toy(factory: pytest.TempPathFactory, changes: dict[str, Any], stages: str, work: str) -> Path:
    """Make a project whose stages are those of `stages`, a dvc.yaml, and run `work`, which is its work.py."""
    root = factory.mktemp("toy_project")
    git(root, "init", "--quiet")
    dvc(root, "init", "--quiet")
    dvc(root, "config", "core.analytics", "false")
    dvc(root, "config", "core.check_update", "false")
    dvc(root, "config", "core.site_cache_dir", str(factory.mktemp("toy_site_cache")))
    write_params(root / "params.yaml", changes)
    (root / "dvc.yaml").write_text(stages)
    (root / "work.py").write_text(work)
    (root / ".gitignore").write_text("/artifacts/\n/.fuseline/\n/calls*\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "toy")
    return root


def start_flow(toy: Path, flow: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command of `flows/` in a toy project; its stages note their calls in calls.txt."""
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), "TOY_CALLS": str(toy / "calls.txt"), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", f"flows.{flow}", *arguments],
        cwd=toy,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
        start_new_session=True,
    )
