"""A trained model whose answers stand for texts of other models' samples."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.device import Device
from stages.base.store import ANSWERS, CURVES, MANIFEST, SPLITS, artifact_path
from stages.models.model import ANSWERING, load_model, reading_of
from stages.models.tables import Split, load_split, read_rows
from stages.models.tasks import Task
from stages.params import ANSWERED


def greedily(evaluate: Any, batch_size: int) -> Any:
    """Return the settings by which texts for other models are written: without a search, as all data is read."""
    return evaluate.model_copy(update={"beam_size": 1, "temperature": 0.0, "batch_size": batch_size})


def text_of(task: Task, answer: dict[str, Any]) -> str:
    """Return the text of an answer."""
    return str(answer[ANSWERED[task.config.experiment.task]])


def texts_of(task: Task, split: Split, evaluate: Any) -> dict[str, str]:
    """Return, by sample id, what a model writes about a split's samples; none where it writes nothing."""
    answers = task.answer(split, evaluate)
    found = {row["sample_id"]: text_of(task, answer) for row, answer in zip(split.rows, answers, strict=True)}
    return {sample_id: text for sample_id, text in found.items() if text}


def write_answers(trained: Path, folder: Path, evaluate: Any, device: Device) -> list[tuple[str, str, str | None]]:
    """Write into a features artifact what a trained model says of all samples, and the model itself.

    Returns:
        (sample id, split, text) of all samples; None for the text of one of which the model has nothing to say.

    Raises:
        InputError: when the model, its features or its data are missing or do not match.
    """
    task = load_model(trained, device)
    reading = dataclasses.replace(reading_of(task.config.experiment), columns=(), needed=())
    found: list[tuple[str, str, str | None]] = []
    for split in SPLITS:
        texts = texts_of(task, load_split(reading, split, device, limit_bytes=0), evaluate)
        rows = read_rows(artifact_path("prepare", reading.dataset), split, ["sample_id"])
        found += [(row["sample_id"], split, texts.get(row["sample_id"])) for row in rows]
    columns = dict(zip(("sample_id", "split", "text"), map(list, zip(*found, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / ANSWERS)
    shutil.copytree(trained, folder / ANSWERING, ignore=shutil.ignore_patterns(MANIFEST, CURVES))
    return found
