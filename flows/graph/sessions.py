"""Subprocesses in a session of their own, so that an interruption leaves nothing behind.

Killing `dvc` alone would leave the stage's process writing. Where the flow itself is killed outright, its DVC goes
on; `OWNER_VARIABLE` tells whose it was, so that a later run can end it (`flows.retraining.at_work`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import psutil

GRACE_S = 10.0
PROGRESS_VARIABLE = "FUSELINE_PROGRESS"
OWNER_VARIABLE = "FUSELINE_OWNER"

_OURS: set[subprocess.Popen[bytes]] = set()


def dvc_command(*arguments: str) -> list[str]:
    """Return the command that runs DVC and waits where another one holds its lock for a moment."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def dvc_environment() -> dict[str, str]:
    """Return the environment of DVC and its stages: this one's `python` first, and who started them."""
    path = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),  # a stage's `python` is the first there
        "PYTHONUNBUFFERED": "1",
        OWNER_VARIABLE: process_mark(),
    }


def process_mark(pid: int | None = None) -> str:
    """Return what names a process, this one by default: its id and the second it began, as ids are used again."""
    process = psutil.Process(pid)
    return f"{process.pid} {process.create_time():.0f}"


def is_running(mark: str) -> bool:
    """Return whether the process of a `process_mark` still runs."""
    pid, _, began = mark.partition(" ")
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(began)) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False


@contextmanager
def dvc_process(root: Path | str, arguments: list[str], asks_progress: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dvc` in a session of its own and leave no process of that session behind, whatever happens."""
    process = subprocess.Popen(
        dvc_command(*arguments),
        cwd=root,
        env={**dvc_environment(), **({PROGRESS_VARIABLE: "1"} if asks_progress else {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _OURS.add(process)
    try:
        yield process
    finally:
        end_child(process)
        _OURS.discard(process)


def end_all_sessions() -> None:
    """End every DVC of this process, whichever thread follows it."""
    for process in list(_OURS):
        end_session(process.pid)


def end_child(process: subprocess.Popen[bytes]) -> None:
    """End a child that leads a session, with all of that session, and collect it."""
    try:
        end_session(process.pid)
    finally:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def end_session(leader: int) -> None:
    """End the processes of a session, whatever they do about it."""
    try:
        _signal(leader, SIGTERM)
    finally:  # also when a second Ctrl-C cuts the grace short
        _signal(leader, SIGKILL)


def end_orphans_in(folder: Path) -> None:
    """End the stages that go on in a folder, or below it, without the run that started them: that was killed."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or not ours
            owner = process.environ().get(OWNER_VARIABLE)
            session = os.getsid(process.pid)
            is_inside = owner and session != os.getsid(0) and Path(process.cwd()).is_relative_to(folder)
            if is_inside and not is_running(str(owner)):
                end_session(session)


def _signal(session: int, number: Signals) -> None:
    """Signal what is left of a session, and wait until it is gone or the grace is over."""
    deadline = time.monotonic() + GRACE_S
    members = _members(session)
    with suppress(ProcessLookupError):
        if members:
            os.killpg(session, number)
    for pid in members:
        with suppress(ProcessLookupError):
            if os.getpgid(pid) != session:  # it left the group
                os.kill(pid, number)
    while _members(session) and time.monotonic() < deadline:
        time.sleep(0.05)


def _members(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):  # gone meanwhile, or not ours
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found
