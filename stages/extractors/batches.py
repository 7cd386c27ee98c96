"""Encoded media of a prepared data set, in order, and their features in batches: decoded ahead, extracted once each."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError, MediaError
from stages.base.parallel import in_batches, read_ahead
from stages.base.store import SPLITS

if TYPE_CHECKING:
    from stages.extractors import Extractor


@dataclass(frozen=True)
class Medium:
    """Encoded bytes of one medium, and the sample that it was met in."""

    sample_id: str
    key: bytes  # sha256 of the bytes
    data: bytes


@dataclass
class Index:
    """Which rows of the array are a sample's: none where it lacks the modality, several for several texts."""

    sample_id: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    row_of: dict[bytes, int] = field(default_factory=dict)  # equal media share a row

    def add(self, sample_id: str, split: str, keys: list[bytes]) -> None:
        """Take the next sample."""
        self.sample_id.append(sample_id)
        self.split.append(split)
        self.rows.append([self.row_of.setdefault(key, len(self.row_of)) for key in keys])

    def table(self) -> pa.Table:
        """Return what is written."""
        rows = pa.array(self.rows, pa.list_(pa.int32()))
        return pa.table({"sample_id": self.sample_id, "split": self.split, "rows": rows})


def read_media(folder: Path, column: str, splits: Sequence[str] = SPLITS) -> Iterator[tuple[str, str, list[Medium]]]:
    """Yield (sample id, split, media) of a prepared data set, a row group in memory at a time."""
    for split in splits:
        for path in sorted(folder.glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path)
            if column not in file.schema_arrow.names:
                raise InputError(
                    f"{folder} has no column {column}; its source gives {', '.join(file.schema_arrow.names)}"
                )
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["sample_id", column])
                for sample_id, value in zip(*(c.to_pylist() for c in table.columns), strict=True):
                    yield sample_id, split, [medium(sample_id, item) for item in media_of(column, value)]


def media_of(column: str, value: Any) -> list[Any]:
    """Return what of a prepared cell is a medium each: all texts of a list, but all fields of a sample together."""
    if value is None:
        return []
    if column == "fields":
        return [json.dumps(value)]
    return value if isinstance(value, list) else [value]


def medium(sample_id: str, value: bytes | str) -> Medium:
    """Return a medium of a sample, texts as UTF-8."""
    data = value.encode() if isinstance(value, str) else value
    return Medium(sample_id, hashlib.sha256(data).digest(), data)


def extract(
    media: Iterable[Medium], extractor: "Extractor", batch_size: int
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """Yield (keys, features) of all media in batches, in order.

    On a CPU each thread takes a batch from its bytes to its features: threads that share a batch wait for each other
    in every layer. For a GPU they decode ahead, and every batch is a full one.
    """

    def work(batch: list[Medium]) -> tuple[list[bytes], np.ndarray]:
        decoded = np.stack([_decode(extractor, medium) for medium in batch])
        return [medium.key for medium in batch], extractor.extract(decoded) if extractor.side_by_side else decoded

    with extractor.threads() as workers:
        for keys, done in read_ahead(work, in_batches(media, batch_size), workers, ahead=2 * workers):
            yield keys, done if extractor.side_by_side else _in_full_batches(extractor, done, batch_size)


def _in_full_batches(extractor: "Extractor", decoded: np.ndarray, batch_size: int) -> np.ndarray:
    """Extract with a batch filled up: on a GPU the same medium in a batch of another shape has other last bits."""
    lacking = batch_size - len(decoded)
    filled = np.concatenate([decoded, np.repeat(decoded[-1:], lacking, axis=0)]) if lacking else decoded
    return extractor.extract(filled)[: len(decoded)]


def _decode(extractor: "Extractor", medium: Medium) -> np.ndarray:
    try:
        return extractor.decode(medium.data)
    except MediaError as error:
        raise InputError(f"sample {medium.sample_id}: {error}") from None
