"""The test samples that travel with a `retrieve` version, to search among: written at registration, read in service."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.store import FIELDS, MEDIA, artifact_path
from stages.media.columns import Cells, read_columns
from stages.params import Params

MOST_SAMPLES = 1000


def write_gallery(params: Params, name: str, path: Path) -> None:
    """Write the first test samples with what the experiment reads of them: `sample_id`, a column a modality."""
    experiment = params.experiments[name]
    columns, prepared = params.given_columns(name), artifact_path("prepare", experiment.dataset)
    parts, room = [], MOST_SAMPLES
    for file in sorted(prepared.glob("test-*.parquet")):
        table = pq.read_table(file, columns=["sample_id", *dict.fromkeys(columns.values())]).slice(0, room)
        table = table.select(["sample_id", *columns.values()]).rename_columns(["sample_id", *columns])
        if FIELDS in columns:
            texts = [cells and fields_text(prepared, cells) for cells in table[FIELDS].to_pylist()]
            table = table.set_column(table.schema.get_field_index(FIELDS), FIELDS, pa.array(texts, pa.string()))
        parts.append(table)
        room -= len(table)
    pq.write_table(pa.concat_tables(parts), path)


def fields_text(prepared: Path, cells: Cells) -> str:
    """Return a prepared sample's fields as the JSON text that a model takes."""
    columns = read_columns(prepared)
    assert columns is not None, "a data set with cells has columns"
    return json.dumps(columns.as_json(cells), ensure_ascii=False)


class Gallery:
    """Test samples and their vectors in the shared space, both ways."""

    def __init__(self, path: Path, predictor: Any) -> None:
        """Read the samples and let the model itself place them."""
        self._rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        self._numbers = {row["sample_id"]: i for i, row in enumerate(self._rows)}
        self._target: str = predictor.task.config.experiment.target
        self._others = [m for m in predictor.task.config.features if m != self._target]
        self._queries, self._owner_of_query = self._place(predictor, self._others, "query")
        self._targets, self._owner_of_target = self._place(predictor, [self._target], "target")
        self._found = [value for row in self._rows for value in _listed(row[self._target])]  # one a target vector

    def _place(self, predictor: Any, modalities: list[str], kind: str) -> tuple[np.ndarray, list[int]]:
        """Return unit vectors (V, D) of one side, and the sample of each; a sample's texts have one each."""
        samples, owners = [], []
        for i, row in enumerate(self._rows):
            first, *rest = modalities
            for value in _listed(row[first]) or [None]:
                sample = {first: _bytes(value), **{m: _bytes(next(iter(_listed(row[m])), None)) for m in rest}}
                if any(data is not None for data in sample.values()):
                    samples.append(sample)
                    owners.append(i)
        return np.array([answer[kind] for answer in predictor.predict(samples)], np.float32), owners

    def search(self, answer: dict[str, Any], given: set[str], limit: int) -> tuple[str, list[dict[str, Any]]]:
        """Return what was looked for, and the samples nearest to a `retrieve` answer, the nearest first.

        A sample stands once, by the nearest of its texts.

        Args:
            answer: The model's answer, with the vectors `query` and `target`.
            given: The modalities that were asked with; the target among them looks for the others.
            limit: The most results.
        """
        backwards = self._target in given
        vector = np.array(answer["target" if backwards else "query"], np.float32)
        known, owners = (self._queries, self._owner_of_query) if backwards else (self._targets, self._owner_of_target)
        likeness = known @ vector
        results: dict[int, dict[str, Any]] = {}
        for place in np.argsort(-likeness, kind="stable"):
            if len(results) == limit:
                break
            if owners[place] not in results:
                text = self._found[place] if not backwards and self._target not in MEDIA else None
                results[owners[place]] = self._result(owners[place], float(likeness[place]), text)
        return self._others[0] if backwards else self._target, list(results.values())

    def _result(self, number: int, similarity: float, text: str | None) -> dict[str, Any]:
        row = self._rows[number]
        texts = [t for m, value in row.items() if m not in (*MEDIA, "sample_id") for t in _listed(value)]
        media = [m for m in MEDIA if row.get(m)]
        return {"sample_id": row["sample_id"], "similarity": similarity, "texts": texts, "text": text, "media": media}

    def medium(self, sample_id: str, modality: str) -> bytes | None:
        """Return the encoded bytes of a sample's image, sound or video; None when there is none."""
        number = self._numbers.get(sample_id)
        return self._rows[number].get(modality) if number is not None and modality in MEDIA else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
