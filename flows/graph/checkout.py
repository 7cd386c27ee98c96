"""Copies of the project's files beside the user's own: they share DVC's cache and the user's data, no more.

The fusion bench and the search work in a clone, since `dvc exp` needs branches of its own; a rebuild takes a worktree
at a version's commit.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.graph.dvc_stages import StageError, StageRun, follow
from stages.params import NONE

BRANCH = "bench"  # of a clone
_AUTHOR = {  # the same tree makes the same commit
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "fuseline"), ("EMAIL", "fuseline"), ("DATE", "2000-01-01T00:00:00Z"))
}


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run git and return what it prints.

    Raises:
        StageError: git failed.
    """
    command, variables = ["git", *arguments], {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StageError("git", f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def run_dvc(
    root: Path,
    arguments: list[str],
    on_line: Callable[[str], None] = lambda line: None,
    on_stage_done: Callable[[StageRun], None] = lambda run: None,
    on_progress: Callable[[str, float], None] | None = None,
) -> list[str]:
    """Run DVC to its end and return the lines that it and the stages print; each is told as it comes.

    Raises:
        StageError: a stage or DVC itself failed.
    """
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    follow(root, arguments, take, on_stage_done, on_progress)
    return lines


def share(root: Path, copy: Path, data_folders: Iterable[str]) -> None:
    """Let a copy of the project use its DVC cache and settings, and read the user's own folders under `data/`."""
    if (local := root / ".dvc" / "config.local").exists():
        shutil.copyfile(local, copy / ".dvc" / "config.local")
    cache = run_dvc(root, ["cache", "dir"])[-1]
    run_dvc(copy, ["cache", "dir", "--local", cache])
    for data in (Path("data") / folder for folder in data_folders if folder != NONE):
        if not (copy / data).exists() and not (copy / f"{data}.dvc").exists():  # neither git nor DVC keeps it
            (copy / data).parent.mkdir(exist_ok=True)
            (copy / data).symlink_to(root / data, target_is_directory=True)


def snapshot(root: Path) -> str:
    """Return a commit of the working tree with what git does not know yet of `stages`; nothing else changes.

    It is HEAD itself when nothing differs from that.
    """
    new = [name for name in ("stages", "dvc.yaml", "dvc.lock", "params.yaml") if (root / name).exists()]
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git(root, "read-tree", "HEAD", **index)
        git(root, "add", "--update", **index)
        git(root, "add", "--", *new, **index)
        tree = git(root, "write-tree", **index)
    if tree == git(root, "rev-parse", "HEAD^{tree}"):
        return git(root, "rev-parse", "HEAD")
    return git(root, "commit-tree", tree, "-p", "HEAD", "-m", "The working tree", **_AUTHOR)


@contextmanager
def cloned(root: Path, commit: str, clone: Path, data_folders: Iterable[str]) -> Iterator[Path]:
    """Yield a clone at `commit` that shares the project's DVC cache and data; it is removed at the end."""
    shutil.rmtree(clone, ignore_errors=True)
    try:
        git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(clone))
        git(clone, "checkout", "--quiet", "-B", BRANCH, commit)
        for key in ("name", "email"):
            git(clone, "config", f"user.{key}", "fuseline")
        share(root, clone, data_folders)
        yield clone
    finally:
        shutil.rmtree(clone, ignore_errors=True)


@contextmanager
def worktree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Yield the project in a worktree at `commit`, on no branch; it is removed at the end, whatever happens.

    What a killed run left in the folder is removed first. The repository's hooks do not run.
    """
    place = git(root, "rev-parse", "--show-prefix")  # of a project that is a folder of a larger repository
    _remove_worktree(root, folder)
    try:
        no_hooks = ("-c", f"core.hooksPath={os.devnull}")
        git(root, *no_hooks, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield folder / place
    finally:
        _remove_worktree(root, folder)


def _remove_worktree(root: Path, folder: Path) -> None:
    """Remove this worktree; `git worktree prune` would forget those on disks that are not mounted too."""
    with suppress(StageError):  # none is there
        git(root, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
