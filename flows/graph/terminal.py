"""What the commands share with the person at the terminal: a console, the table of stages, signals and exit codes."""

import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType

from rich import box
from rich.console import Console
from rich.table import Table

from flows.graph.dvc_stages import StageError
from stages.base.errors import InputError
from stages.base.terminal import escape_what_cannot_be_shown

LAST_LINES = 15
PLAIN_WIDTH = 110
EXIT_INTERRUPTED = 130


def console() -> Console:
    """Return the terminal, or a wide plain console without control codes when there is none."""
    escape_what_cannot_be_shown()
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH, no_color=True, force_terminal=False)


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that no stage is left running."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def ended(work: Callable[[], None], tell: Callable[[str], None], interrupted: str) -> int:
    """Do the work of a command and return its exit code; what went wrong is told in words for a person."""
    try:
        work()
    except InputError as error:
        tell(f"error: {error}")
        return 1
    except StageError as error:
        tell("\n".join([f"{error.name} failed: {error.reason}", *error.lines[-LAST_LINES:]]))
        return 1
    except KeyboardInterrupt:
        tell(f"interrupted: {interrupted}")
        return EXIT_INTERRUPTED
    return 0


def stage_table(rows: Iterable[tuple[str, str, float]]) -> Table:
    """Return a table of stages: the address, what came of it, the seconds it took."""
    table = Table("stage", "outcome", box=box.SIMPLE_HEAD)
    table.add_column("seconds", justify="right")
    for name, outcome, seconds in rows:
        table.add_row(name, outcome, f"{seconds:.1f}")
    return table
