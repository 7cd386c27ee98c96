"""Running DVC's stages, one at a time or all at once, and what DVC says of them.

DVC runs as a subprocess (`flows.graph.sessions`), so that its lines can be followed live. What DVC says has changed
is asked of `dvc status`.
"""

import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from signal import Signals
from typing import Any

from flows.graph.mending import mend
from flows.graph.sessions import dvc_command, dvc_environment, dvc_process

TAIL_LINES = 40
BUSY_WORDS = ("is busy, it is being blocked by", "Unable to acquire lock")

_PROGRESS = re.compile(r"PROGRESS (\d*\.?\d+(?:e-?\d+)?)$")
_ERROR = re.compile(r"ERROR: (?:failed to reproduce '(?P<name>[^']+)': )?(?P<reason>.*)")
_EXIT = re.compile(r"failed to run: .*, exited with (-?\d+)$", re.DOTALL)


class Outcome(Enum):
    """What DVC did with a stage."""

    RAN = "ran"
    CACHED = "cached"
    """It did not change, its outputs are in place."""
    RESTORED = "restored"
    """An earlier run had the same inputs: its outputs came out of the run cache."""


_MARKERS = {
    re.compile(r"Running stage '(.+)':$"): Outcome.RAN,
    re.compile(r"Verifying (?:data sources|outputs) in (?:frozen )?stage: '(.+)'$"): Outcome.RAN,
    re.compile(r"(?:Stage )?'(.+)' didn't change, skipping$"): Outcome.CACHED,
    re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs$"): Outcome.RESTORED,
}


def stage_that_begins(line: str) -> tuple[str, Outcome] | None:
    """Return the stage that a line of DVC's begins to tell of, and what DVC does with it."""
    for pattern, outcome in _MARKERS.items():
        if match := pattern.match(line):
            return match[1], outcome
    return None


@dataclass(frozen=True)
class StageRun:
    """One stage, what DVC did with it and how long that took."""

    name: str
    outcome: Outcome
    seconds: float


class StageError(RuntimeError):
    """A stage failed, or DVC did (then the name is `dvc`)."""

    def __init__(self, name: str, reason: str, lines: tuple[str, ...] = ()) -> None:
        """Keep the stage's address, the reason in a line and the last lines that the stage itself printed."""
        super().__init__(name, reason, lines)
        self.name, self.reason, self.lines = name, reason, lines

    def __str__(self) -> str:
        """Return the reason, then the stage's own last lines."""
        return "\n".join((f"{self.name} failed: {self.reason}", *self.lines))


class StageBusy(StageError):
    """Another DVC process holds what the stage reads or writes: the stage was not begun."""


class Transcript:
    """Turns DVC's lines into stage runs, and keeps the last lines that the stage at work printed itself."""

    def __init__(self, on_stage_done: Callable[[StageRun], None]) -> None:
        """Begin before the first line; `on_stage_done` is told of each stage when it ends."""
        self.runs: list[StageRun] = []
        self._on_stage_done = on_stage_done
        self._at_work: tuple[str, Outcome] | None = None
        self._since: float | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._error: re.Match[str] | None = None

    @property
    def name(self) -> str:
        """The stage at work; `dvc` between stages."""
        return self._at_work[0] if self._at_work else "dvc"

    def read(self, line: str, now: float) -> None:
        """Take the next line, read at `now` (monotonic seconds)."""
        if begins := stage_that_begins(line):
            self._start(*begins, now)
            return
        match = _ERROR.match(line)
        if match and (match["name"] or not self._at_work):
            self._error = match
        if self._tail or not line.startswith("> "):  # dvc shows the command so
            self._tail.append(line)

    def _start(self, name: str, outcome: Outcome, now: float) -> None:
        if name != self.name:  # the same name again: its cached outputs were gone after all, so it runs
            self.end(now)
        self._at_work = (name, outcome)
        self._tail.clear()
        self._error = None
        if outcome is Outcome.CACHED:
            self.end(now)
        else:
            self._since = now

    def end(self, now: float) -> None:
        """Count the stage at work, if any, as done at `now`."""
        if self._at_work is None:
            return
        run = StageRun(*self._at_work, seconds=now - (now if self._since is None else self._since))
        self._at_work, self._since = None, now
        self.runs.append(run)
        self._on_stage_done(run)

    def error(self, returncode: int) -> StageError:
        """Return what went wrong, DVC's own report told apart from what the stage printed."""
        name, lines = self.name, list(self._tail)
        reason = _exit_words(returncode)
        if self._error is not None and self._error.string in lines:
            start = len(lines) - 1 - lines[::-1].index(self._error.string)
            reason = "\n".join([self._error["reason"], *lines[start + 1 :]]).strip()
            name = self._error["name"] or name
            lines = lines[:start] if name == self.name else []  # else the lines are of the stage before
        while lines and not lines[-1]:
            lines.pop()
        if match := _EXIT.match(reason):
            reason = _exit_words(int(match[1]))
        kind = StageBusy if any(words in reason for words in BUSY_WORDS) else StageError
        return kind(name, reason, tuple(lines))


def _exit_words(code: int) -> str:
    """Return an exit code in words: the shell adds 128 to a signal's number, Python negates it."""
    number = -code if code < 0 else code - 128
    with suppress(ValueError):
        return f"signal {Signals(number).name}"
    return f"exit code {code}"


def run_stage(
    root: Path | str,
    name: str,
    on_line: Callable[[str], None],
    force: bool = False,
    on_progress: Callable[[str, float], None] | None = None,
) -> StageRun:
    """Bring one stage up to date, the stages before it left alone.

    Args:
        root: The project's folder.
        name: The stage's address, such as `train@caption`.
        on_line: Gets each line that the stage and DVC print, as it comes.
        force: Run the stage even when nothing changed.
        on_progress: Gets the stage's address and a fraction of 1 whenever the stage tells its progress;
            without it the stage is not asked to.

    Raises:
        StageError: The stage failed; `StageBusy` when another DVC process stood in its way.
    """
    options = ["--single-item", *(["--force"] if force else []), name]
    start = time.monotonic()
    runs = follow(root, ["repro", *options], on_line, on_progress=on_progress)
    seconds = time.monotonic() - start
    return replace(runs[-1], seconds=seconds) if runs else StageRun(name, Outcome.RAN, seconds)


def repro(
    root: Path | str,
    on_line: Callable[[str], None],
    on_stage_done: Callable[[StageRun], None],
    targets: Iterable[str] = (),
    on_progress: Callable[[str, float], None] | None = None,
) -> list[StageRun]:
    """Bring the whole graph up to date, or `targets` and the stages before them, with one `dvc repro`.

    `on_stage_done` gets each stage as soon as DVC is done with it; for the rest see `run_stage`.
    """
    return follow(root, ["repro", *targets], on_line, on_stage_done, on_progress)


def follow(
    root: Path | str,
    arguments: list[str],
    on_line: Callable[[str], None],
    on_stage_done: Callable[[StageRun], None] = lambda run: None,
    on_progress: Callable[[str, float], None] | None = None,
) -> list[StageRun]:
    """Run a command of DVC to its end and return the stages that it ran; for the rest see `repro`."""
    transcript = Transcript(on_stage_done)
    mend(root)
    with dvc_process(root, arguments, asks_progress=on_progress is not None) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1]  # a bar's last state
            if on_progress and (match := _PROGRESS.match(line)):
                on_progress(transcript.name, min(float(match[1]), 1.0))
            else:
                on_line(line)
                transcript.read(line, time.monotonic())
        returncode = process.wait()
    if returncode != 0:
        raise transcript.error(returncode)
    transcript.end(time.monotonic())
    return transcript.runs


@dataclass(frozen=True)
class Change:
    """One thing that makes DVC run a stage: `kind` is dep, param, out or stage, `how` DVC's word for it."""

    stage: str
    kind: str
    name: str
    how: str


def changes(root: Path | str, names: Iterable[str]) -> list[Change]:
    """Return what has changed of these stages since they ran; what depends on them is not followed.

    Raises:
        StageError: DVC cannot say; `StageBusy` while another process writes what would be compared.
    """
    mend(root)
    command = dvc_command("status", "--json", *names)
    done = subprocess.run(command, cwd=root, env=dvc_environment(), capture_output=True, text=True)
    if done.returncode != 0:
        kind = StageBusy if any(words in done.stderr for words in BUSY_WORDS) else StageError
        raise kind("dvc", done.stderr.strip().removeprefix("ERROR: ") or _exit_words(done.returncode))
    found = json.loads(done.stdout)
    return [change for stage, entries in found.items() for entry in entries for change in _changes(stage, entry)]


def _changes(stage: str, entry: str | dict[str, dict[str, Any]]) -> list[Change]:
    """Return one entry of DVC's status: a word for the stage as a whole, or deps or outs by path."""
    if isinstance(entry, str):
        return [Change(stage, "stage", stage, entry)]
    found = []
    for heading, paths in entry.items():
        for path, how in paths.items():
            if isinstance(how, dict):  # keys of a params file
                found += [Change(stage, "param", key, word) for key, word in how.items()]
            else:
                found.append(Change(stage, "out" if heading == "changed outs" else "dep", path, how))
    return found
