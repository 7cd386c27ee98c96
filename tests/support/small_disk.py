"""A disk of a few hundred kilobytes, in a namespace of its own."""

import subprocess
from pathlib import Path

import pytest


def on_a_small_disk(root: Path, folder: str, size: str, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in `root` with a small disk at `folder` in it, or skip where none can be mounted."""
    mount = f"mount -t tmpfs -o size={size} tmpfs {folder}"
    in_own_namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    (root / folder).mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([*in_own_namespace, mount], cwd=root, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk needs a user namespace that may mount one: {error}")
    return subprocess.run([*in_own_namespace, f"{mount} && {script}"], cwd=root, capture_output=True, text=True)
