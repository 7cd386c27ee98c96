"""DVC's own files made whole where a kill cut them off: DVC writes them in place, and refuses to run on a torn one."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.store import dvc_locked, write_text

LOCK_FILE = "dvc.lock"
RWLOCK = ".dvc/tmp/rwlock"

_HEAD = "schema: '2.0'\nstages:\n"
_CONFLICT = "<<<<<<<"  # of two branches, for a person to resolve
_ENTRY = re.compile(r"^  \S", re.MULTILINE)


def mend(root: Path | str) -> None:
    """Make `dvc.lock` and `.dvc/tmp/rwlock` whole, and say on stderr what was lost.

    The lock keeps its whole entries; what it had of other stages is in DVC's run cache, or is found when they run
    again. The other file names processes that read and write: who cut it off is gone, and who is not wrote it since.
    """
    _mend(Path(root), LOCK_FILE, "lock", _is_lock, _whole_entries)
    _mend(Path(root), RWLOCK, "rwlock.lock", _names_processes, lambda text: "")


def _mend(
    root: Path, name: str, guard: str, is_whole: Callable[[str], bool], whole_part: Callable[[str], str | None]
) -> None:
    """Keep the whole part of a torn file; one without any is taken away, one that DVC shall speak of is left."""
    path = root / name
    if (text := _text(path)) is None or is_whole(text):
        return
    with dvc_locked(root, guard):  # whoever was only writing it is done now
        if (text := _text(path)) is None or is_whole(text) or (kept := whole_part(text)) is None:
            return
        if kept:
            write_text(path, kept)
        else:
            path.unlink()
    count = len(_ENTRY.findall(kept))
    line = f"{name} was cut off by a kill; it keeps {count} whole entries, others are made anew or restored by DVC"
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None


def _whole_entries(text: str) -> str | None:
    """Return a lock without its last entry, which is cut off; None where something else is wrong, for DVC to say."""
    starts = [match.start() for match in _ENTRY.finditer(text)]
    if _CONFLICT in text or text[: len(_HEAD)] != _HEAD[: len(text)]:
        return None
    kept = text[: starts[-1]] if len(starts) > 1 else ""
    return kept if not kept or _is_lock(kept) else None


def _names_processes(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_lock(text: str) -> bool:
    """Whether DVC can read a lock file."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        found: Any = YAML(typ="safe").load(text)
        COMPILED_LOCKFILE_SCHEMA(found)
    except (YAMLError, Invalid):
        return False
    return True
