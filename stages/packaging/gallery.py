"""The samples that travel with a `retrieve` version, to search among: placed at registration, read in service."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.device import set_up
from stages.base.store import FIELDS, MEDIA, artifact_path
from stages.media.columns import Cells, read_columns
from stages.models.catalogue import Built, Rows, Vectors, build_index, drawn, mapped, write_rows, write_vectors
from stages.models.catalogue.exact import NOWHERE
from stages.models.model import load_model, reading_of
from stages.models.tables import load_split
from stages.params import Params

ROWS, OWNERS = "samples.arrow", "_owners.npy"
SIDES = ("queries", "targets")
BATCH = 256  # rows


def write_gallery(params: Params, name: str, folder: Path) -> dict[str, Built]:
    """Write the first samples with what the experiment reads of them, and their vectors in the shared space.

    Returns:
        The indexes of what there is so many of that it needs one.
    """
    folder.mkdir()
    write_rows(folder / ROWS, _samples(params, name))
    placed = _placed(params, name, Rows(folder / ROWS))
    for side, (vectors_VD, owners_V) in placed.items():
        write_vectors(folder / f"{side}.npy", vectors_VD)
        np.save(folder / f"{side}{OWNERS}", owners_V, allow_pickle=False)
    built = {}
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        if len(placed[side][0]) > params.register_.exact_below:
            asked = placed[other][0]
            built[side] = build_index(folder / f"{side}.npy", asked[drawn(len(asked))], params.register_.index_recall)
    return built


def _samples(params: Params, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the first samples of the gallery's splits: `sample_id`, a column a modality."""
    columns, prepared = params.given_columns(name), artifact_path("prepare", params.experiments[name].dataset)
    room, splits = params.register_.gallery_samples, params.register_.gallery_splits
    for file in (path for split in splits for path in sorted(prepared.glob(f"{split}-*.parquet"))):
        for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=["sample_id", *dict.fromkeys(columns.values())]):
            samples = {key: batch[column] for key, column in {"sample_id": "sample_id", **columns}.items()}
            if FIELDS in columns:
                texts = [cells and fields_text(prepared, cells) for cells in samples[FIELDS].to_pylist()]
                samples[FIELDS] = pa.array(texts, pa.string())
            yield pa.RecordBatch.from_pydict(samples).slice(0, room)
            room -= len(batch)
            if room <= 0:
                return


def fields_text(prepared: Path, cells: Cells) -> str:
    """Return a prepared sample's fields as the JSON text that a model takes."""
    columns = read_columns(prepared)
    assert columns is not None, "a data set with cells has columns"
    return json.dumps(columns.as_json(cells), ensure_ascii=False)


def _placed(params: Params, name: str, samples: Rows) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return, by side, unit vectors (V, D) and the sample of each (V,), in order; a sample's texts have one each."""
    experiment, device = params.experiments[name], set_up(*params.base.hardware())
    task = load_model(artifact_path("train", name), device)
    reading = dataclasses.replace(reading_of(experiment), columns=(), needed=())
    numbers = {sample_id: i for i, sample_id in enumerate(samples.first("sample_id", len(samples)))}
    vectors: dict[str, list[np.ndarray]] = {side: [] for side in SIDES}
    owners: dict[str, list[int]] = {side: [] for side in SIDES}
    for split in (load_split(reading, part, device, limit_bytes=0) for part in params.register_.gallery_splits):
        for places, _, batch in split.in_order(params.evaluate.batch_size):
            known = [numbers.get(split.rows[place]["sample_id"], NOWHERE) for place in places]
            if max(known) == NOWHERE:
                break
            for number, answer in zip(known, task.predict(batch, params.evaluate), strict=True):
                for side in SIDES if number != NOWHERE else ():
                    vectors[side].append(answer[side])
                    owners[side] += [number] * len(answer[side])
    return {side: (np.concatenate(vectors[side]), np.array(owners[side], np.int32)) for side in SIDES}


class Side:
    """The vectors of one side, and the number of the sample that each is of."""

    def __init__(self, folder: Path, side: str) -> None:
        """Map both files."""
        self.vectors = Vectors.open(folder / f"{side}.npy")
        self.owners = mapped(folder / f"{side}{OWNERS}")
        self.most = int(np.bincount(self.owners).max(initial=1))  # vectors of a sample

    def nearest(self, vector_D: np.ndarray, limit: int) -> list[tuple[int, float, int]]:
        """Return the number, the similarity and which of its vectors it is of the nearest samples, nearest first."""
        found: dict[int, tuple[int, float, int]] = {}
        (likeness,), (places,) = self.vectors.best(vector_D[None], min(limit * self.most, len(self.vectors)))
        for score, place in zip(likeness.tolist(), places.tolist(), strict=True):
            owner = int(self.owners[place])
            found.setdefault(owner, (owner, score, place - int(np.searchsorted(self.owners, owner))))
        return list(found.values())[:limit]


class Gallery:
    """Samples and their vectors in the shared space, both ways."""

    def __init__(self, folder: Path, predictor: Any) -> None:
        """Map the files.

        Raises:
            InputError: when one is missing or damaged.
        """
        self._samples = Rows(folder / ROWS)
        self._target: str = predictor.task.config.experiment.target
        self._others = [m for m in predictor.task.config.features if m != self._target]
        self._queries, self._targets = (Side(folder, side) for side in SIDES)

    def search(self, answer: dict[str, Any], given: set[str], limit: int) -> tuple[str, list[dict[str, Any]]]:
        """Return what was looked for, and the samples nearest to a `retrieve` answer, the nearest first.

        A sample stands once, by the nearest of its texts.

        Args:
            answer: The model's answer, with the vectors `query` and `target`.
            given: The modalities that were asked with; the target among them looks for the others.
            limit: The most results.
        """
        if self._target in given:
            near = self._queries.nearest(np.array(answer["target"], np.float32), limit)
            return self._others[0], [self._result(number, similarity, None) for number, similarity, _ in near]
        near = self._targets.nearest(np.array(answer["query"], np.float32), limit)
        return self._target, [self._result(*found) for found in near]

    def _result(self, number: int, similarity: float, which: int | None) -> dict[str, Any]:
        row = self._samples[number]
        texts = [t for m, value in row.items() if m not in (*MEDIA, "sample_id") for t in _listed(value)]
        media = [m for m in MEDIA if row.get(m)]
        text = None if which is None or self._target in MEDIA else _listed(row[self._target])[which]
        return {"sample_id": row["sample_id"], "similarity": similarity, "texts": texts, "text": text, "media": media}

    def medium(self, sample_id: str, modality: str) -> bytes | None:
        """Return the encoded bytes of a sample's image, sound or video; None when there is none."""
        number = self._samples.find("sample_id", sample_id)
        return self._samples[number].get(modality) if number >= 0 and modality in MEDIA else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
