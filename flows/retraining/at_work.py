"""Who is at work on the project: one retraining at a time, and no `dvc repro` beside it.

A retraining holds a lock of the file system, which ends with its process however that ends; beside it a note says
who it is. DVC names the processes that run stages in `.dvc/tmp/rwlock`, those of killed runs too.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from flows.graph.mending import RWLOCK
from flows.graph.sessions import OWNER_VARIABLE, end_session, is_running, process_mark
from stages.base.store import SCRATCH, write_json

LOCKS = SCRATCH / "locks"
READ_ATTEMPTS = 5  # DVC writes its file in place: it can be read half written
GONE_S = 10.0  # that an ended process may take to leave the table of processes, where DVC still sees it


class Refused(Exception):
    """Someone else is at work; the text says who."""


@dataclass(frozen=True)
class DvcProcess:
    """A process that runs a stage: what it was called as, what it writes, and who started it, if one of ours."""

    pid: int
    command: str
    writes: tuple[str, ...]
    owner: str | None

    @property
    def is_orphan(self) -> bool:
        """Whether the run that started it is gone."""
        return self.owner is not None and not is_running(self.owner)

    def __str__(self) -> str:
        """Return who it is and what it writes."""
        return f"`{self.command}` (process {self.pid}) is writing {', '.join(self.writes)}"


def dvc_processes(root: Path) -> list[DvcProcess]:
    """Return the processes that run stages of the project now."""
    writes: dict[int, list[str]] = {}
    for path, info in _rwlock(root).get("write", {}).items():
        if info:
            place = Path(path)
            writes.setdefault(info["pid"], []).append(
                place.relative_to(root).as_posix() if place.is_relative_to(root) else path
            )
    found = [_dvc_process(pid, tuple(sorted(paths))) for pid, paths in writes.items()]
    return [process for process in found if process]


def _rwlock(root: Path) -> dict[str, Any]:
    for attempt in range(READ_ATTEMPTS):
        try:
            return json.loads((root / RWLOCK).read_text(encoding="utf8"))
        except FileNotFoundError:
            break
        except ValueError:
            time.sleep(0.1 * attempt)
    return {}


def _dvc_process(pid: int, writes: tuple[str, ...]) -> DvcProcess | None:
    """Return the process, unless it is gone or its number is another program's by now."""
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        owner = process.environ().get(OWNER_VARIABLE)
    except psutil.AccessDenied:
        owner = None  # another user's: not ours to end
    except psutil.NoSuchProcess:
        return None
    start = next((place for place, word in enumerate(words) if "dvc" in Path(word).parts or word == "dvc"), None)
    if start is None:
        return None
    shown = [word for word in words[start + 1 :] if word != "--wait-for-lock"]
    return DvcProcess(pid, " ".join(["dvc", *shown]), writes, owner)


def end_orphans(root: Path) -> list[DvcProcess]:
    """End the stages that go on without the run that started them, and return them."""
    orphans = [process for process in dvc_processes(root) if process.is_orphan]
    for orphan in orphans:
        end_session(orphan.pid)
        deadline = time.monotonic() + GONE_S
        while psutil.pid_exists(orphan.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    return orphans


@contextmanager
def sole(root: Path, what: str, run: str) -> Iterator[None]:
    """Be the only `what` of the project, under the name `run`; the lock goes with the process.

    Raises:
        Refused: Another one is at work.
    """
    folder = root / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    note, lock = folder / f"{what}.json", FileLock(folder / f"{what}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        found = at_work(root, what)
        by = f": {found['run']} (process {found['process'].split()[0]})" if found else ""
        raise Refused(f"another {what} is at work{by}") from None
    try:
        write_json(note, {"run": run, "process": process_mark()})
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def at_work(root: Path, what: str) -> dict[str, str] | None:
    """Return the note of the one that is at work: `run`, its name, and `process`, its mark."""
    try:
        note = json.loads((root / LOCKS / f"{what}.json").read_text(encoding="utf8"))
    except (FileNotFoundError, ValueError):
        return None
    return note if is_running(note["process"]) else None
