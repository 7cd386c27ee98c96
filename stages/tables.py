"""Features and prepared rows of one split, ready to be gathered in batches on a device."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stages.device import Device
from stages.errors import InputError
from stages.parallel import read_ahead
from stages.store import FEATURES, INDEX, artifact_path, read_manifest


class FeatureTable:
    """Rows of a feature array: on the device once when they fit, else streamed from the memory map."""

    def __init__(self, rows: np.ndarray, device: Device, limit_bytes: float) -> None:
        """Take the (memory-mapped) rows of one split."""
        self._device = device
        self._mapped = rows
        self.shape: tuple[int, ...] = rows.shape[1:]
        self._resident = None
        if rows.nbytes <= limit_bytes:
            self._resident = torch.from_numpy(np.array(rows)).to(device.device)

    def batches(self, chosen: list[np.ndarray]) -> Iterator[Tensor]:
        """Yield the features of each batch of row numbers, read ahead when they are streamed."""
        if self._resident is not None:
            for rows in chosen:
                yield self._resident[torch.from_numpy(rows).to(self._device.device)]
        else:
            for features in read_ahead(self._gather, chosen, workers=1, ahead=2):
                yield features.to(self._device.device, non_blocking=True)

    def _gather(self, rows: np.ndarray) -> Tensor:
        features = torch.from_numpy(self._mapped[rows])
        return features.pin_memory() if self._device.is_cuda else features


@dataclass
class Split:
    """One split of an experiment's data: prepared rows without media, and features by modality."""

    rows: list[dict[str, Any]]
    features: dict[str, FeatureTable]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    def batches(self, chosen: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        """Yield the features of each batch of row numbers, by modality."""
        streams = {modality: table.batches(chosen) for modality, table in self.features.items()}
        for tensors in zip(*streams.values(), strict=True):
            yield dict(zip(streams, tensors, strict=True))

    def in_order(self, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Yield (row numbers, features) of the whole split, in order."""
        chosen = [np.arange(start, min(start + batch_size, len(self))) for start in range(0, len(self), batch_size)]
        yield from zip(chosen, self.batches(chosen), strict=True)


def read_rows(folder: Path, split: str, columns: list[str]) -> list[dict[str, Any]]:
    """Return a prepared split's rows with just these columns."""
    tables = [pq.read_table(path, columns=columns) for path in sorted(folder.glob(f"{split}-*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def load_split(dataset: str, inputs: dict[str, str], split: str, device: Device, limit_bytes: float) -> Split:
    """Read one split: rows of `dataset`, features of `inputs` (modality to features' name).

    Raises:
        InputError: when an artifact is missing or incomplete, the split is empty, or the two do not match.
    """
    prepared = artifact_path("prepare", dataset)
    read_manifest(prepared)
    rows = read_rows(prepared, split, ["sample_id", "texts", "tokens", "oracle"])
    if not rows:
        raise InputError(f"data set {dataset}: the split {split} is empty")
    ids = [row["sample_id"] for row in rows]
    tables = {}
    for modality, name in inputs.items():
        folder = artifact_path("features", name)
        read_manifest(folder)
        index = pq.read_table(folder / INDEX)
        places = np.flatnonzero(index["split"].to_numpy(zero_copy_only=False) == split)
        if index["sample_id"].take(places).to_pylist() != ids:
            raise InputError(f"{folder} was made from another {prepared}; run `dvc repro`")
        mapped = np.load(folder / FEATURES, mmap_mode="r")
        tables[modality] = FeatureTable(mapped[places[0] : places[-1] + 1], device, limit_bytes)
    return Split(rows, tables)
