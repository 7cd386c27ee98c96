"""Progress of a long loop: a bar on a terminal, `PROGRESS 0.42` lines for a flow, silence elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from stages.base.store import say

MIN_INTERVAL_S = 1.0


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function `report(done, total)` that shows how far the loop is; `total` may be None."""
    if os.environ.get("FUSELINE_PROGRESS"):
        yield lambda done, total: report_fraction(done / total) if total else None
    elif sys.stdout.isatty():
        with _bar_reporter(label) as report:
            yield report
    else:
        yield lambda done, total: None


_last_s = 0.0


def report_fraction(fraction: float) -> None:
    """Print a `PROGRESS` line now and then, where a flow asked for them."""
    global _last_s
    if os.environ.get("FUSELINE_PROGRESS") and time.monotonic() - _last_s > MIN_INTERVAL_S:
        _last_s = time.monotonic()
        say(f"PROGRESS {fraction:.4f}")


@contextlib.contextmanager
def _bar_reporter(label: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
