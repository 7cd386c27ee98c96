"""DVC's own files made whole where a kill cut them off: DVC writes them in place, and refuses to run on a torn one."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.store import dvc_locked, write_text

LOCK_FILE = "dvc.lock"
RWLOCK = Path(".dvc/tmp/rwlock")

_HEAD = "schema: '2.0'\nstages:\n"
_CONFLICT = "<<<<<<<"  # of two branches, for a person to resolve
_ENTRY = re.compile(r"^  \S", re.MULTILINE)


def mend(root: Path | str) -> None:
    """Make `dvc.lock` and `.dvc/tmp/rwlock` whole, and say on stderr what was lost.

    The lock keeps its whole entries; what it had of other stages is in DVC's run cache, or is found when they run
    again. The other file names processes that read and write: who cut it off is gone, and who is not wrote it since.
    """
    root = Path(root)
    if _is_torn(root / LOCK_FILE):
        with dvc_locked(root):  # whoever was only writing it is done now
            _mend_lock(root / LOCK_FILE)
    if _is_torn(root / RWLOCK):
        with dvc_locked(root, "rwlock.lock"):
            if _is_torn(root / RWLOCK):
                (root / RWLOCK).unlink()
                _tell(f"{RWLOCK} was cut off by a kill; it is made anew")


def _is_torn(path: Path) -> bool:
    text = _text(path)
    return text is not None and not (_names_processes(text) if path.name == RWLOCK.name else _is_lock(text))


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None


def _mend_lock(path: Path) -> None:
    text = _text(path)
    if text is None or _is_lock(text) or (kept := _whole_entries(text)) is None:
        return
    if kept:
        write_text(path, kept)
    else:
        path.unlink()
    count = len(_ENTRY.findall(kept))
    _tell(f"{path.name} was cut off by a kill; it keeps {count} whole entries, others come from DVC's run cache")


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


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
