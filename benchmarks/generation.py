"""How many words a second a trained captioner writes, in batches of several sizes; all write the same captions.

Run: `python -m benchmarks.generation caption`, after that experiment was trained
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.captioner import open_captioner, run
from benchmarks.timing import CONSOLE, show_machine, take_turns
from stages.models.tables import Split
from stages.models.tasks.caption import CaptionTask
from stages.params import Params
from stages.params.cli import main

BATCHES = (1, 8, 32)


def measure(params: Params, name: str, num_images: int, rounds: int) -> None:
    """Caption the first images of the test split in batches of each size, greedily and by beams."""
    task, test, device = open_captioner(params, name)
    some = _first(test, min(num_images, len(test)))
    show_machine(device)
    table = Table(title=f"{name}: words a second, {len(some)} images", title_justify="left")
    for column in ("beams", "batch", "words / s", "the same captions as one by one"):
        table.add_column(column)
    for beams in sorted({1, params.evaluate.beam_size}):
        one_by_one: list[list[str]] = []
        for batch in BATCHES:
            evaluate = params.evaluate.model_copy(update={"batch_size": batch, "beam_size": beams})
            written, seconds = _timed(task, some, evaluate, rounds)
            one_by_one = one_by_one or written
            same = sum(a == b for a, b in zip(written, one_by_one, strict=True))
            table.add_row(str(beams), str(batch), f"{sum(map(len, written)) / seconds:.1f}", f"{same} of {len(some)}")
    CONSOLE.print(table)


def _timed(task: CaptionTask, some: Split, evaluate: Any, rounds: int) -> tuple[list[list[str]], float]:
    """Return the words of each caption, and the median of the seconds that all took."""
    answers: list[dict[str, Any]] = []

    def write() -> None:
        answers[:] = task.answer(some, evaluate)

    (timing,) = take_turns({"captions": write}, rounds)
    return [answer["words"] for answer in answers], float(np.median(timing.seconds))


def _first(split: Split, count: int) -> Split:
    """Return the first rows of a split."""
    tables = {modality: table.reordered(np.arange(count)) for modality, table in split.features.items()}
    return dataclasses.replace(split, rows=split.rows[:count], features=tables)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run("generation", __doc__, 32, measure, argv)


if __name__ == "__main__":
    main(command)
