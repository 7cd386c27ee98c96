"""What a version was trained on, kept with it: so that a test on some of that is told.

A sample is known by its image, else its video, else its sound, else its texts; names and places say nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.store import SPLITS, artifact_path

TRAINED_ON = "trained_on.parquet"  # in the folder `lineage` of a version's run
CONTENT = ("image", "video", "audio", "message", "texts", "questions", "fields")


def write_trained_on(path: Path, datasets: Iterable[str], before: Iterable[Path] = ()) -> None:
    """Write the digests of the training samples of data sets, and those kept of versions that training went on from."""
    digests = [digest for dataset in datasets for digest in _digests(dataset, SPLITS[0])]
    digests += [digest for kept in before for digest in pq.read_table(kept)["digest"].to_pylist()]
    pq.write_table(pa.table({"digest": np.unique(np.array(digests, np.uint64))}), path)


def num_seen(path: Path, dataset: str) -> tuple[int, int]:
    """Return how many of a data set's test samples are among kept digests, and how many there are."""
    known = pq.read_table(path)["digest"].to_numpy()
    asked = np.array(list(_digests(dataset, SPLITS[2])), np.uint64)
    return int(np.isin(asked, known).sum()), len(asked)


def _digests(dataset: str, split: str) -> Iterator[int]:
    for path in sorted(artifact_path("prepare", dataset).glob(f"{split}-*.parquet")):
        file = pq.ParquetFile(path)
        columns = [name for name in CONTENT if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns).to_pylist():
                yield int.from_bytes(hashlib.sha256(_content(row)).digest()[:8], "big")


def _content(row: dict[str, Any]) -> bytes:
    value = next((row[name] for name in CONTENT if row.get(name)), b"")
    text = "\n".join(text or "" for text in value) if isinstance(value, list) else value
    return text.encode() if isinstance(text, str) else text
