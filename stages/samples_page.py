"""The page of samples: what went in, what the model says, what is right; one file, no network."""

import base64
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader

from stages.store import SPLITS
from stages.tasks import Task

TEMPLATES = Path(__file__).parent / "templates"
MEDIA = ("image", "audio")
KINDS = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "audio/wav", b"fLaC": "audio/flac"}
ROWS_AT_A_TIME = 256


def write_samples_page(
    path: Path, name: str, metrics: dict[str, Any], task: Task, shown: list[tuple[Any, Any]], prepared: Path
) -> None:
    """Write the page for (answer, row) pairs; what went in is read from the prepared data set."""
    inputs = _inputs(prepared, {row["sample_id"] for _, row in shown}, set(task.config.features))
    samples = [_sample(task, answer, row, inputs[row["sample_id"]]) for answer, row in shown]
    columns = [key for key, value in metrics.items() if isinstance(value, float)]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("samples.html").render(
        name=name, metrics=metrics, samples=samples, columns=columns[:7], captions="words" in shown[0][0]
    )
    path.write_text(page, encoding="utf8")


def _inputs(prepared: Path, ids: set[str], modalities: set[str]) -> dict[str, dict[str, Any]]:
    """Return what the model was given of each sample; a batch of rows in memory at a time."""
    columns = [
        "sample_id",
        *(m for m in MEDIA if m in modalities),
        *(["texts", "message"] if "text" in modalities else []),
    ]
    found = {}
    for path in sorted(prepared.glob(f"{SPLITS[2]}-*.parquet")):
        there = [name for name in columns if name in pq.read_schema(path).names]
        for batch in pq.ParquetFile(path).iter_batches(columns=there, batch_size=ROWS_AT_A_TIME):
            found.update({row["sample_id"]: row for row in batch.to_pylist() if row["sample_id"] in ids})
    return found


def _sample(task: Task, answer: dict[str, Any], row: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    attention = answer.get("attention") or []
    cells = len(attention[0]) if attention and attention[0] else 0
    words = []
    for i, word in enumerate(answer.get("words", [])):
        weights = attention[i] if cells else []
        peak = max(weights, default=0.0) or 1.0
        probability = answer["word_probabilities"][i]
        words.append({"text": word, "probability": probability, "weights": [round(w / peak, 2) for w in weights]})
    texts = [given["message"]] if given.get("message") else (given.get("texts") or [])[:1]
    return {
        "id": row["sample_id"],
        **{medium: _data_url(given[medium]) for medium in MEDIA if given.get(medium)},
        "texts": texts,
        "side": math.isqrt(cells),
        "words": words,
        "score": answer.get("score"),
        "references": row["texts"] if words else [],
        "lines": task.lines(answer, row),
    }


def _data_url(data: bytes) -> str:
    kind = next(kind for start, kind in KINDS.items() if data.startswith(start))
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
