"""The page of samples: image, prediction with attention over its words, references; one file, no network."""

import base64
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader

from stages.store import SPLITS

TEMPLATES = Path(__file__).parent / "templates"


def write_samples_page(
    path: Path, name: str, metrics: dict[str, Any], shown: list[tuple[dict[str, Any], dict[str, Any]]], prepared: Path
) -> None:
    """Write the page for (answer, row) pairs; images are read from the prepared data set."""
    images = _images(prepared, {row["sample_id"] for _, row in shown})
    samples = [_sample(answer, row, images[row["sample_id"]]) for answer, row in shown]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("samples.html").render(
        name=name, metrics=metrics, samples=samples, headline=metrics["settings"]["headline"]
    )
    path.write_text(page, encoding="utf8")


def _images(prepared: Path, ids: set[str]) -> dict[str, bytes]:
    found = {}
    for path in sorted(prepared.glob(f"{SPLITS[2]}-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["sample_id", "image"], batch_size=256):
            for row in batch.to_pylist():
                if row["sample_id"] in ids:
                    found[row["sample_id"]] = row["image"]
    return found


def _sample(answer: dict[str, Any], row: dict[str, Any], image: bytes) -> dict[str, Any]:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    cells = len(answer["attention"][0]) if answer["attention"] else 1
    words = []
    for word, probability, weights in zip(
        answer["words"], answer["word_probabilities"], answer["attention"], strict=True
    ):
        peak = max(weights) or 1.0
        words.append(
            {"text": word, "probability": probability, "weights": [round(weight / peak, 2) for weight in weights]}
        )
    return {
        "id": row["sample_id"],
        "image": f"data:image/{kind};base64,{base64.b64encode(image).decode()}",
        "side": math.isqrt(cells),
        "words": words,
        "score": answer["score"],
        "references": row["texts"],
    }
