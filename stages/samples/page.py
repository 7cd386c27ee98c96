"""The page of a data set: samples drawn from the prepared Parquet and the features, so that one sees what a model sees.

Nothing is read from the source. One file, no network.
"""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from stages.base.store import FEATURES, INDEX, MEDIA, SPLITS, data_url, read_manifest
from stages.media.columns import Columns, read_columns
from stages.media.text import PAD, UNKNOWN
from stages.media.video import shown_medium
from stages.samples.overview import prepared_rows

TEMPLATES = Path(__file__).parent / "templates"
NUM_SAMPLES = 40
MOST_FRAMES = 8  # of a video's features, in a picture


def write_page(path: Path, prepared: Path, screen: str, features: Mapping[Path, Any]) -> None:
    """Write the page of one data set.

    Args:
        path: The file to write.
        prepared: The folder of the prepared data set.
        screen: What `overview.screen` says of it.
        features: The sections of `features` that are made from it and are there, by the folder of each array.
    """
    chosen, columns = chosen_samples(prepared), read_columns(prepared)
    samples = [_sample(row, split, columns) for row, split in prepared_rows(prepared) if row["sample_id"] in chosen]
    samples.sort(key=lambda sample: chosen[sample["id"]])
    for folder, section in features.items():
        _add_features(samples, folder, section)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    total = sum(read_manifest(prepared)["counts"][split] for split in SPLITS)
    page = environment.get_template("data.html").render(
        name=prepared.name, screen=screen, samples=samples, total=total, features=[folder.name for folder in features]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf8")


def chosen_samples(prepared: Path) -> dict[str, int]:
    """Return the ids to show and the place of each: from each split and class in turn, by the digest of the id."""
    by_kind: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row, split in _ids(prepared):
        kind = by_kind[split, row.get("label") or ""]
        kind.append((hashlib.sha256(row["sample_id"].encode()).hexdigest(), row["sample_id"]))
    ranked = [[name for _, name in sorted(kind)[:NUM_SAMPLES]] for _, kind in sorted(by_kind.items(), key=_order)]
    in_turn = filter(None, chain.from_iterable(zip_longest(*ranked)))
    return {name: place for place, name in zip(range(NUM_SAMPLES), in_turn, strict=False)}


def _order(kind: tuple[tuple[str, str], Any]) -> tuple[int, str]:
    (split, label), _ = kind
    return SPLITS.index(split), label


def _ids(prepared: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for path in sorted(prepared.glob("*-*.parquet")):
        names = pq.read_schema(path).names
        for row in pq.read_table(path, columns=[n for n in ("sample_id", "label") if n in names]).to_pylist():
            yield row, path.name.partition("-")[0]


def _sample(row: dict[str, Any], split: str, columns: Columns | None) -> dict[str, Any]:
    questions = zip(row.get("questions") or [], row.get("answers") or [], strict=True)
    return {
        "id": row["sample_id"],
        "split": split,
        **{medium: data_url(shown_medium(medium, row[medium])) for medium in MEDIA if row.get(medium)},
        "texts": [*(row.get("texts") or []), *filter(None, [row.get("message")])],
        "questions": list(questions),
        "facts": [
            *((key, row[key]) for key in ("label", "group") if row.get(key)),
            *([("tags", ", ".join(row["tags"]) or "none")] if row.get("tags") is not None else []),
            *((name, f"{value:.10g}") for name, value in row.get("numbers") or ()),
            *(columns.as_json(row["fields"]).items() if columns and row.get("fields") else ()),
        ],
        "features": [],
    }


def _add_features(samples: list[dict[str, Any]], folder: Path, section: Any) -> None:
    """Add to each sample what one feature array holds of it."""
    by_id = {sample["id"]: sample for sample in samples}
    array = np.load(folder / FEATURES, mmap_mode="r")
    index = pq.read_table(folder / INDEX, columns=["sample_id", "rows"])
    words = _words(folder)
    for sample_id, rows in zip(*(column.to_pylist() for column in index.columns), strict=True):
        if sample_id in by_id:
            for row in rows:
                by_id[sample_id]["features"].append(
                    {"name": folder.name, **shown(np.array(array[row]), section, words)}
                )


def _words(folder: Path) -> list[str]:
    """Return the words that the numbers of a text feature stand for."""
    words: list[str] = json.loads((folder / "extractor.json").read_text(encoding="utf8")).get("vocabulary", [])
    return words


def shown(values: np.ndarray, section: Any, words: list[str]) -> dict[str, Any]:
    """Return one medium's features as a person can look at them: a picture, words or numbers, and what they are."""
    if section.extractor == "pixels":
        return {"kind": "picture", "picture": _png(values), "says": f"{values.shape[1]}x{values.shape[0]} pixels"}
    if section.extractor == "frames":
        kept = values[values.any((1, 2, 3))]
        says = f"{len(kept)} of at most {len(values)} frames of {values.shape[2]}x{values.shape[1]} pixels"
        return {"kind": "picture", "picture": _png(np.concatenate([*kept[:MOST_FRAMES]], axis=1)), "says": says}
    if section.extractor == "tokens":
        kept = values[values != PAD]
        return {
            "words": [(words[number], number == UNKNOWN) for number in kept],
            "says": f"{len(kept)} of at most {len(values)} words",
        }
    numbers = values.astype(np.float32)
    low, high = float(numbers.min()), float(numbers.max())
    says = f"{' x '.join(map(str, values.shape))} numbers, {low:.2f} to {high:.2f}"
    rows = numbers.reshape(len(numbers), -1) if numbers.ndim > 1 else numbers[None]
    picture = _grey(numbers.T[::-1] if section.extractor == "log_mel" else rows, low, high)
    if section.extractor == "log_mel":
        says += ": time from left to right, low tones below"
    return {"kind": "numbers", "picture": _png(picture), "says": says}


def _grey(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    return (255 * (numbers - low) / (high - low or 1.0)).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return data_url(out.getvalue())
