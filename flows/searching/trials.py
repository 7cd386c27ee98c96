"""One training in the clone: followed epoch by epoch, ended when its curve is not worth going on with or it hangs.

Each epoch's values come from the lines that the stage prints, which costs training nothing; where the run cache has
the training already, its curves are gone through in the same way, so that the same trial always comes to the same end.
"""

import csv
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.graph.dvc_stages import Outcome, StageError, StageRun, follow, stage_that_begins
from flows.graph.sessions import end_all_sessions
from stages.base.store import CURVES, MANIFEST, METRICS, artifact_path

EPOCH = re.compile(r"epoch (\d+): (.+)$")
LOSS = "val_loss"
PLACES = 4  # of a score while training runs, as the stage prints it


class Stopped(Exception):
    """A training was ended before its time; the text says why."""


@dataclass(frozen=True)
class Trained:
    """A finished training: its best epoch's score on the validation split, and how many epochs it took."""

    score: float
    epochs: int
    from_cache: bool


@dataclass(frozen=True)
class Scores:
    """A model's scores on both splits; `metric` is the task's headline, the one of the test split."""

    validation: float
    test: float
    metric: str


@dataclass(frozen=True)
class Workplace:
    """Where trainings run: a clone, the experiment, the column of its curves that is compared, the longest silence."""

    clone: Path
    experiment: str
    by_loss: bool
    silence_s: float

    def scored(self, values: dict[str, str]) -> tuple[str, float]:
        """Return the name and the value of the score among an epoch's values."""
        names = [LOSS] if self.by_loss else [name for name in values if name.startswith("val_") and name != LOSS]
        return names[0], float(values[names[0]])


def train(
    place: Workplace,
    params_text: str,
    on_epoch: Callable[[int, str, float], None],
    on_progress: Callable[[float], None],
) -> Trained:
    """Train with these params; `on_epoch` gets each epoch's number from 1 and its score, and may raise `Stopped`.

    `on_progress` gets a fraction of 1 now and then.

    Raises:
        StageError: the training failed, or said nothing for too long.
        Stopped: `on_epoch` ended it.
    """
    target, heard, at_work = f"train@{place.experiment}", 0, ""

    def on_line(line: str) -> None:
        nonlocal at_work, heard
        at_work, _ = stage_that_begins(line) or (at_work, None)
        if at_work == target and (match := EPOCH.match(line)):
            pairs = (pair.rpartition(" ") for pair in match[2].split(", "))
            heard = int(match[1])
            on_epoch(heard, *place.scored({name: value for name, _, value in pairs}))

    runs = _repro(place, params_text, target, on_line, on_progress)
    rows, best = _curves(place)
    for number, values in enumerate(rows if not heard else [], start=1):
        name, score = place.scored(values)
        on_epoch(number, name, round(score, PLACES))
    from_cache = all(run.outcome is not Outcome.RAN for run in runs if run.name == target)
    return Trained(place.scored(rows[best])[1], len(rows), from_cache)


def evaluate(place: Workplace, params_text: str, on_progress: Callable[[float], None]) -> Scores:
    """Train with these params, or have that out of the run cache, and evaluate on the test split."""
    _repro(place, params_text, f"evaluate@{place.experiment}", lambda line: None, on_progress)
    rows, best = _curves(place)
    metrics = json.loads((place.clone / artifact_path("evaluate", place.experiment) / METRICS).read_text("utf8"))
    metric = metrics["settings"]["headline"]
    return Scores(place.scored(rows[best])[1], metrics[metric], metric)


def _repro(
    place: Workplace,
    params_text: str,
    target: str,
    on_line: Callable[[str], None],
    on_progress: Callable[[float], None],
) -> list[StageRun]:
    """Bring a stage of the clone up to date with these params, unless it falls silent."""
    (place.clone / "params.yaml").write_text(params_text, encoding="utf8")
    with _watched(place.silence_s, target) as alive:

        def heard(line: str) -> None:
            alive()
            on_line(line)

        def progressed(name: str, fraction: float) -> None:
            alive()
            on_progress(fraction)

        return follow(place.clone, ["repro", target], heard, on_progress=progressed)


def _curves(place: Workplace) -> tuple[list[dict[str, str]], int]:
    """Return each epoch's values of the training that lies in the clone, and which epoch was the best."""
    folder = place.clone / artifact_path("train", place.experiment)
    with (folder / CURVES).open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / MANIFEST).read_text("utf8"))["settings"]["best_epoch"]


@contextmanager
def _watched(silence_s: float, name: str) -> Iterator[Callable[[], None]]:
    """Yield what is to be called at each sign of life; without any for so long, the DVC at work is ended.

    Raises:
        StageError: it was.
    """
    last, over, hangs = time.monotonic(), threading.Event(), False

    def alive() -> None:
        nonlocal last
        last = time.monotonic()

    def watch() -> None:
        nonlocal hangs
        while not over.wait(min(1.0, silence_s)):
            if time.monotonic() - last > silence_s:
                hangs = True
                end_all_sessions()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield alive
    except StageError as error:
        if hangs:
            raise StageError(name, f"no sign of life for {silence_s:.0f} s; it was ended", error.lines) from None
        raise
    finally:
        over.set()
        watcher.join()
