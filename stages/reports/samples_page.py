"""The page of samples: what went in, what the model says, what is right; one file, no network."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader

from stages.base.store import MEDIA, SPLITS, data_url
from stages.media.columns import read_columns
from stages.media.text import join
from stages.media.video import shown_medium
from stages.models.metrics.statements import Range
from stages.models.metrics.truth import Judgement
from stages.models.tasks import Task
from stages.reports.frames import frames_that_counted

TEMPLATES = Path(__file__).parent / "templates"
ROWS_AT_A_TIME = 256
TOLD = ("statements_true", "objects_named")  # metrics that stand in the table whatever else there is
MOST_COLUMNS = 7


@dataclass(frozen=True)
class Prepared:
    """Where the samples' inputs stand: the prepared data set, its column for each modality, and texts by sample id."""

    folder: Path
    columns: dict[str, str]
    written: dict[str, dict[str, str]] = field(default_factory=dict)  # by modality, those that another model writes
    splits: tuple[str, ...] = SPLITS[2:]


def write_samples_page(
    path: Path, name: str, metrics: dict[str, Any], task: Task, shown: list[tuple[Any, Any]], prepared: Prepared
) -> None:
    """Write the page for (answer, row) pairs; what went in is read from the prepared data set."""
    inputs = _inputs(prepared, {row["sample_id"] for _, row in shown})
    samples = [_sample(task, answer, row, inputs[row["sample_id"]]) for answer, row in shown]
    first = (task.headline, *TOLD)
    columns = [
        key for key in (*first, *(key for key in metrics if key not in first)) if isinstance(metrics.get(key), float)
    ]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("samples.html").render(
        name=name,
        metrics=metrics,
        samples=samples,
        columns=columns[:MOST_COLUMNS],
        captions="words" in shown[0][0],
        judged=samples[0]["judgement"] is not None,
    )
    path.write_text(page, encoding="utf8")


def _inputs(prepared: Prepared, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Return what the model was given of each sample, by modality; a batch of rows in memory at a time."""
    found: dict[str, dict[str, Any]] = {}
    of_fields = read_columns(prepared.folder)
    for path in (path for split in prepared.splits for path in sorted(prepared.folder.glob(f"{split}-*.parquet"))):
        columns = ["sample_id", *prepared.columns.values()]
        for batch in pq.ParquetFile(path).iter_batches(columns=columns, batch_size=ROWS_AT_A_TIME):
            for row in batch.to_pylist():
                if row["sample_id"] in ids:
                    given = {m: row[column] for m, column in prepared.columns.items()}
                    given |= {m: texts.get(row["sample_id"]) for m, texts in prepared.written.items()}
                    if of_fields and given.get("fields"):
                        given["fields"] = of_fields.as_json(given["fields"])
                    found[row["sample_id"]] = given
    return found


def _sample(task: Task, answer: dict[str, Any], row: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    attention = answer.get("attention") or []
    cells = len(attention[0]) if attention and attention[0] else 0
    judgement = task.judged(answer, row)
    false = _false(judgement, answer) if judgement else []
    words, end = [], 0
    caption = answer.get("caption", "")
    for i, word in enumerate(answer.get("words", [])):
        start = caption.lower().find(word, end)  # spaces stand where the caption has them: not in Chinese
        written = caption[start : start + len(word)] if start >= 0 else word  # a number is read as its word
        gap, end = start != end, start + len(word) if start >= 0 else end
        weights = attention[i] if cells else []
        peak = max(weights, default=0.0) or 1.0
        probability = answer["word_probabilities"][i]
        relative = [round(weight / peak, 2) for weight in weights]
        wrong = [said for said, (first, behind) in false if first <= i < behind]
        words.append({"text": written, "gap": gap, "probability": probability, "weights": relative, "false": wrong})
    text = given.get("text")
    texts = text[:1] if isinstance(text, list) else [text] if text else []
    return {
        "id": row["sample_id"],
        "made": [data_url(picture) for picture in task.made(answer)],
        **{medium: data_url(shown_medium(medium, given[medium])) for medium in MEDIA if given.get(medium)},
        "frames": frames_that_counted(task.details(answer) if answer.get("frames") else {}, given.get("video")),
        "texts": texts,
        "fields": given.get("fields") or {},
        "side": math.isqrt(cells),
        "words": words,
        "judgement": judgement,
        "false": [said for said, _ in false],
        "score": answer.get("score"),
        "references": row["texts"] if words else [],
        "lines": task.lines(answer, row),
    }


def _false(judgement: Judgement, answer: dict[str, Any]) -> list[tuple[str, Range]]:
    """Return the false statements of a caption, or a picture's text, as they are written, and where their words are."""
    wrong = [verdict.words for verdict in judgement.statements if verdict.holds is False]
    words = answer.get("asked_words") or answer["words"]
    return [(join(words[first:behind]), (first, behind)) for first, behind in wrong]
