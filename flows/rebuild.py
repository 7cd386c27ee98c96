"""Rebuild a registered version from its commit, and compare every stage's bytes with the version's.

The commit, with what was not committed, is checked out in a temporary worktree; the raw data come from DVC's cache
by the version's dvc.lock, or are downloaded again; every later stage really runs. The project, its DVC cache and the
tracking store stay as they are. It lives here because it runs DVC; the stage `register` only hands over to it.

Run it: `python -m stages.register --rebuild <name> <version>`. Exit code 0: same bytes, 1: differences, 2: it failed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from flows.graph import settings
from flows.graph.checkout import worktree
from flows.graph.dvc_stages import StageError
from flows.graph.terminal import EXIT_INTERRUPTED, LAST_LINES, console, end_on_signals
from flows.rebuilding.comparison import details, table, verdict
from flows.rebuilding.version import check_commit, notes, read_version
from flows.rebuilding.worktree_run import apart, lay_out, run_stages
from stages.base.errors import InputError
from stages.base.store import SCRATCH, locked
from stages.registry.lineage import version_digest, version_stages
from stages.registry.lineage_files import DIFF

EXIT_DIFFERS, EXIT_FAILED = 1, 2


def rebuild(root: Path, name: str, number: str, out: Console) -> bool:
    """Rebuild a version and print what came of it; return whether all bytes are the same."""

    def tell(line: str) -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    with tempfile.TemporaryDirectory() as folder:
        version = read_version(name, number, Path(folder))
        check_commit(root, version)
        changes = ", with what was not committed" if version.file(DIFF).stat().st_size else ""
        tell(f"rebuilding {version.title} from commit {version.tags['git_commit'][:12]}{changes}")
        for note in notes(root, version):
            tell(f"note: {note}")
        place = (root / SCRATCH / "rebuild" / f"{name}-{version.number}").absolute()
        with (
            locked(f"rebuild-{name}-{version.number}"),
            worktree(root, version.tags["git_commit"], place) as tree,
            apart(tree),
        ):
            params = lay_out(root, tree, version)
            rows = run_stages(tree, version, version_stages(params, name), out)
            digest = version_digest(name, tree)
    out.print(table(rows))
    for line in details(rows):
        tell(line)
    is_same, line = verdict(version.title, rows, (version.tags["digest"], digest))
    tell(line)
    return is_same


def main(arguments: list[str] | None = None) -> int:
    """Rebuild a version; return the exit code."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m stages.register --rebuild", description=description)
    parser.add_argument("name", help="a registered model")
    parser.add_argument("version", help="its version, or an alias such as champion")
    args = parser.parse_args(arguments)
    settings.apply()
    end_on_signals()
    root, out = settings.project_root(), console()
    os.chdir(root)
    try:
        return 0 if rebuild(root, args.name, args.version, out) else EXIT_DIFFERS
    except InputError as error:
        out.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
    except StageError as error:
        lines = [f"{error.name} failed: {error.reason}", *error.lines[-LAST_LINES:]]
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        out.print("interrupted: the temporary worktree was removed")
        return EXIT_INTERRUPTED
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
