"""Evaluate: a trained model on the test split, beside the honest rows it must beat.

Writes metrics.json, predictions.parquet, data and pictures for `dvc plots`, and samples.html to look at.
"""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.base.lexicon import read_lexicon
from stages.base.store import (
    CURVES,
    METRICS,
    PREDICTIONS,
    SPLITS,
    artifact_path,
    read_manifest,
    say,
    write_json,
    writing,
)
from stages.media.text import tokenize
from stages.params import Params, column_of
from stages.params.cli import main, run_named, stage_parser

if TYPE_CHECKING:
    from stages.base.device import Device
    from stages.models.tables import Split
    from stages.models.tasks import Task
    from stages.reports.samples_page import Prepared

TEST, TRANSCRIBE = SPLITS[2], "transcribe"
SAMPLES_PAGE = "samples.html"
FIGURES = "figures"


def run(params: Params, name: str) -> None:
    """Evaluate one experiment."""
    from stages.base.device import set_up
    from stages.models.model import load_model, named_bases, reading_of
    from stages.models.pool import load
    from stages.models.tasks.base import to_look_at
    from stages.pretrained.bases import bring
    from stages.reports.figures import write_figures
    from stages.reports.samples_page import write_samples_page

    experiment = params.experiments[name]
    trained = artifact_path("train", name)
    manifest = read_manifest(trained)
    with writing("evaluate", name, params.evaluate.model_dump()) as draft:
        device = set_up(*params.base.hardware())
        bring(trained, named_bases(experiment, f"experiments.{name}"))
        task = load_model(trained, device)
        prepared = artifact_path("prepare", experiment.dataset)
        task.lexicon = read_lexicon(prepared)
        reading = reading_of(experiment)
        train, test = (load(reading, split, device, limit_bytes=0) for split in (SPLITS[0], TEST))
        task.study(train)
        answers = task.answer(test, params.evaluate)
        metrics = score(task, answers, train, test, params)
        metrics["baselines"] |= _recognised(params, task, prepared, device, test)
        metrics["settings"] |= {
            "best_epoch": manifest["settings"]["best_epoch"],
            "tokenizer": read_manifest(prepared)["settings"]["tokenizer"],
        }
        write_json(draft.folder / METRICS, metrics)
        pq.write_table(pa.table(task.records(answers, test.rows)), draft.folder / PREDICTIONS)
        shutil.copyfile(trained / CURVES, draft.folder / CURVES)
        _write_comparison(draft.folder / "comparison.csv", metrics)
        (draft.folder / FIGURES).mkdir()
        write_figures(draft.folder / FIGURES, task, answers, test.rows, metrics)
        shown = to_look_at(test, params.evaluate.num_samples_shown)
        pairs = list(zip(_explained(task, test, answers, shown), (test.rows[i] for i in shown), strict=True))
        inputs = _inputs(params, name, SPLITS if task.pooled else (TEST,))
        write_samples_page(draft.folder / SAMPLES_PAGE, name, metrics, task, pairs, inputs)
        draft.counts["samples"] = len(test)
    say(f"evaluate {name}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items() if isinstance(v, float)))


def _inputs(params: Params, name: str, splits: tuple[str, ...]) -> "Prepared":
    """Return where the page of samples finds what went in: also a target, and texts that another model wrote."""
    from stages.models.model import read_answers
    from stages.reports.samples_page import Prepared

    experiment = params.experiments[name]
    used = experiment.inputs.used()
    written = {m: read_answers(artifact_path("features", used[m])) for m in params.answering(name)}
    own = {m: column_of(params.features[feature]) for m, feature in used.items() if m not in written}
    prepared = artifact_path("prepare", experiment.dataset)
    return Prepared(prepared, params.given_columns(name) | own, written, splits)


def _explained(task: "Task", test: "Split", answers: list[dict[str, Any]], some: np.ndarray) -> list[dict[str, Any]]:
    """Return the answers of some samples, of videos with how much each frame counted."""
    from stages.models.baselines import BATCH, VIDEO

    if VIDEO not in task.config.features:
        return [answers[i] for i in some]
    parts = test.in_order(BATCH, some)
    return [answer for samples, _, batch in parts for answer in task.explained(batch, [answers[i] for i in samples])]


def score(task: "Task", answers: list[dict[str, Any]], train: "Split", test: "Split", params: Params) -> dict[str, Any]:
    """Return the model's metrics, with the baselines and, where the truth is known, the ceiling."""
    from stages.models.baselines import VIDEO, without_time

    metrics = task.metrics(answers, test.rows)
    baselines = task.baselines(train, test)
    for row, modalities in task.ablations().items():
        baselines[row] = task.answer(test.only(modalities), params.evaluate)
    for modality in task.config.experiment.given():
        if modality not in task.several:
            baselines[f"shuffled_{modality}"] = _shuffled(task, answers, test, modality, params)
    if VIDEO in task.config.features:
        for row, change in without_time(params.base.seed).items():
            baselines[row] = task.answer(test.changed(VIDEO, change), params.evaluate)
    return {
        **metrics,
        "num_samples": len(test),
        "baselines": {row: task.metrics(found, test.rows) for row, found in baselines.items()},
        "ceiling": task.ceiling(test),
        "settings": {"headline": task.headline, "split": TEST, **task.settings(test.rows, params.evaluate)},
    }


def _recognised(params: Params, task: "Task", prepared: Path, device: "Device", test: "Split") -> dict[str, Any]:
    """Return the row of a pretrained recogniser, where one is named: of what it writes down of the test sounds."""
    from stages.models.tables import read_rows
    from stages.reports.recogniser import Recogniser

    named = params.evaluate.recogniser
    if isinstance(named, str) or task.config.experiment.task != TRANSCRIBE:
        return {}
    try:
        recogniser = Recogniser(named, device)
    except InputError as error:
        raise InputError(f"evaluate.recogniser: {error}") from None
    sounds = {row["sample_id"]: row.get("audio") for row in read_rows(prepared, TEST, ["sample_id", "audio"])}
    heard = {row["sample_id"]: sound for row in test.rows if (sound := sounds[row["sample_id"]])}
    texts = dict(zip(heard, recogniser.transcribe(heard.values()), strict=True))
    answers = [{"spoken": tokenize(texts.get(row["sample_id"], ""))} for row in test.rows]
    return {"recogniser": task.metrics(answers, test.rows)}


def _shuffled(
    task: "Task", answers: list[dict[str, Any]], test: "Split", modality: str, params: Params
) -> list[dict[str, Any]]:
    """Answer with one modality of each sample swapped for another sample's: what is left without really looking."""
    from stages.models.baselines import swapped

    order = swapped(len(test), params.base.seed)
    if len(task.config.experiment.given()) == 1 and not task.pooled:
        return [answers[i] for i in order]
    return task.answer(test.reordered(modality, order), params.evaluate)


def _write_comparison(path: Path, metrics: dict[str, Any]) -> None:
    """Write the model's numbers, and those of the rows beside it; `score` is the headline, as all tasks have one."""
    named = {"model": metrics, **metrics["baselines"]}
    if metrics["ceiling"]:
        named["ceiling"] = metrics["ceiling"]
    keys = [key for key, value in metrics.items() if isinstance(value, float)]
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "score", *keys])
        for name, values in named.items():
            writer.writerow([name, values[metrics["settings"]["headline"]], *(values.get(key, "") for key in keys)])


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run_named(stage_parser("evaluate", __doc__).parse_args(argv), "experiments", run)


if __name__ == "__main__":
    main(command)
