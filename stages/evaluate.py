"""Evaluate: a trained model on the test split, beside the honest rows it must beat.

Writes metrics.json, predictions.parquet, data for `dvc plots`, and samples.html to look at.
"""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.cli import main, run_named, stage_parser
from stages.params import EvaluateParams, Params
from stages.progress import progress
from stages.store import CURVES, METRICS, PREDICTIONS, SPLITS, artifact_path, read_manifest, say, write_json, writing

TEST = SPLITS[2]
SAMPLES_PAGE = "samples.html"
HEADLINE = "bleu_4"


def run(params: Params, name: str) -> None:
    """Evaluate one experiment."""
    from stages.device import set_up
    from stages.model import load_model
    from stages.samples_page import write_samples_page
    from stages.tables import load_split

    experiment = params.experiments[name]
    inputs = experiment.inputs.model_dump()
    trained = artifact_path("train", name)
    manifest = read_manifest(trained)
    with writing("evaluate", name, params.evaluate.model_dump()) as draft:
        device = set_up(params.base)
        task = load_model(trained, device)
        test = load_split(experiment.dataset, inputs, TEST, device, limit_bytes=0)
        train = load_split(experiment.dataset, inputs, SPLITS[0], device, limit_bytes=0)
        answers = _predict(task, test, params.evaluate)
        metrics = score(answers, test, train, params.base.seed)
        metrics["settings"] = _settings(params, test, read_manifest(artifact_path("prepare", experiment.dataset)))
        metrics["settings"]["best_epoch"] = manifest["settings"]["best_epoch"]
        write_json(draft.folder / METRICS, metrics)
        write_predictions(draft.folder / PREDICTIONS, answers, test.rows)
        _write_plots(draft.folder, metrics, trained / CURVES)
        images = artifact_path("prepare", experiment.dataset)
        shown = np.linspace(0, len(test) - 1, min(params.evaluate.num_samples_shown, len(test))).round().astype(int)
        write_samples_page(
            draft.folder / SAMPLES_PAGE, name, metrics, [(answers[i], test.rows[i]) for i in shown], images
        )
        draft.counts["samples"] = len(test)
    say(f"evaluate {name}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items() if isinstance(v, float)))


def score(answers: list[dict[str, Any]], test: Any, train: Any, seed: int) -> dict[str, Any]:
    """Return the model's metrics, with the baselines and, where the truth is known, the ceiling."""
    from stages.baselines import most_frequent_caption, nearest_captions, shuffled
    from stages.metrics.captions import caption_metrics

    references = [[caption.split() for caption in row["tokens"]] for row in test.rows]
    predictions = [answer["words"] for answer in answers]
    rows = {
        "most_frequent_caption": [most_frequent_caption(train.rows)] * len(test),
        "nearest_training_image": nearest_captions(test, train),
        "shuffled_images": shuffled(predictions, seed),
    }
    metrics: dict[str, Any] = caption_metrics(predictions, references)
    metrics["num_samples"] = len(test)
    metrics["baselines"] = {name: caption_metrics(captions, references) for name, captions in rows.items()}
    oracle = [row["oracle"] for row in test.rows]
    metrics["ceiling"] = caption_metrics([o.split() for o in oracle], references) if all(oracle) else {}
    return metrics


def _predict(task: Any, test: Any, evaluate: EvaluateParams) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    with progress("evaluate") as report:
        for _, features in test.in_order(evaluate.batch_size):
            answers += task.predict(features, evaluate)
            report(len(answers), len(test))
    return answers


def _settings(params: Params, test: Any, prepared: dict[str, Any]) -> dict[str, Any]:
    """Say what the numbers are."""
    return {
        "headline": HEADLINE,
        "split": TEST,
        "level": "corpus",
        "tokenizer": prepared["settings"]["tokenizer"],
        "references_per_sample": sum(len(row["tokens"]) for row in test.rows) / len(test),
        "bleu": "nltk corpus_bleu, no smoothing, closest reference length",
        "cider_d": "scale 0 to 10, document frequencies of the test references",
        "beam_size": params.evaluate.beam_size,
        "length_penalty": params.evaluate.length_penalty,
    }


def write_predictions(path: Path, answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Write one row per sample: id, caption, score, words with probabilities, references."""
    table = pa.table(
        {
            "sample_id": [row["sample_id"] for row in rows],
            "caption": [answer["caption"] for answer in answers],
            "score": pa.array([answer["score"] for answer in answers], pa.float32()),
            "words": [answer["words"] for answer in answers],
            "word_probabilities": pa.array(
                [answer["word_probabilities"] for answer in answers], pa.list_(pa.float32())
            ),
            "references": [row["tokens"] for row in rows],
        }
    )
    pq.write_table(table, path)


def _write_plots(folder: Path, metrics: dict[str, Any], curves: Path) -> None:
    shutil.copyfile(curves, folder / CURVES)
    named = {
        "model": metrics,
        **metrics["baselines"],
        **({"ceiling": metrics["ceiling"]} if metrics["ceiling"] else {}),
    }
    keys = [key for key, value in metrics.items() if isinstance(value, float)]
    with (folder / "comparison.csv").open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", *keys])
        for name, values in named.items():
            writer.writerow([name, *(values[key] for key in keys)])


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run_named(stage_parser("evaluate", __doc__).parse_args(argv), "experiments", run)


if __name__ == "__main__":
    main(command)
