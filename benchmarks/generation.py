"""How many words a second a trained captioner writes, in batches of several sizes; all write the same captions.

Run: `python -m benchmarks.generation caption`, after that experiment was trained
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from rich.table import Table

from benchmarks.timing import CONSOLE, bench_parser, show_machine, take_turns
from stages.base.device import set_up
from stages.base.errors import InputError
from stages.base.store import SPLITS, artifact_path, read_manifest
from stages.models.model import load_model, reading_of
from stages.models.tables import Split, load_split
from stages.models.tasks.caption import CaptionTask
from stages.params import CaptionParams, Params
from stages.params.cli import main, run_named

BATCHES = (1, 8, 32)


def measure(params: Params, name: str, num_images: int, rounds: int) -> None:
    """Caption the first images of the test split in batches of each size, greedily and by beams."""
    experiment = params.experiments[name]
    if not isinstance(experiment, CaptionParams):
        raise InputError(f"{name} is no captioning experiment")
    read_manifest(artifact_path("train", name))
    device = set_up(*params.base.hardware())
    task = load_model(artifact_path("train", name), device)
    assert isinstance(task, CaptionTask)
    test = load_split(reading_of(experiment), SPLITS[2], device, 0)
    rows = np.arange(min(num_images, len(test)))
    some = _first(test, rows)
    show_machine(device)
    table = Table(title=f"{name}: words a second, {len(rows)} images", title_justify="left")
    for column in ("beams", "batch", "words / s", "the same captions as one by one"):
        table.add_column(column)
    for beams in sorted({1, params.evaluate.beam_size}):
        one_by_one: list[list[str]] = []
        for batch in BATCHES:
            evaluate = params.evaluate.model_copy(update={"batch_size": batch, "beam_size": beams})
            write = partial(task.answer, some, evaluate)
            (timing,) = take_turns({str(batch): write}, rounds)
            written = [answer["words"] for answer in write()]
            one_by_one = one_by_one or written
            same = sum(a == b for a, b in zip(written, one_by_one, strict=True))
            speed = sum(map(len, written)) / float(np.median(timing.seconds))
            table.add_row(str(beams), str(batch), f"{speed:.1f}", f"{same} of {len(rows)}")
    CONSOLE.print(table)


def _first(split: Split, rows: np.ndarray) -> Split:
    """Return the split of some rows alone."""
    tables = {modality: table.reordered(rows) for modality, table in split.features.items()}
    return dataclasses.replace(split, rows=[split.rows[i] for i in rows], features=tables)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("generation", __doc__, "a trained captioning experiment of params.yaml")
    parser.add_argument("--images", type=int, default=32)
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.images, args.rounds))


if __name__ == "__main__":
    main(command)
