"""Features and prepared rows of one split, ready to be gathered in batches on a device.

Shapes: N samples of the split, B samples of a batch, K media of one modality that a sample brings to a batch.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.parallel import read_ahead
from stages.base.store import FEATURES, INDEX, artifact_path, read_manifest, say
from stages.models.encoders.base import FeatureSpec

NO_TAG: tuple[str, list[str]] = ("tags", [])  # an answer, unlike other empty columns
PRESENT = "_present"  # after a modality's name: which of its media are there
Change = Callable[[Tensor, np.ndarray], Tensor]  # of features (N, ...), given the number of the sample of each
Picks = dict[str, np.ndarray]  # by modality (B, K): the number of a sample's medium, -1 for none
InOrder = tuple[np.ndarray, Picks, dict[str, Tensor]]  # sample numbers, picks, features


class FeatureTable:
    """One modality of a split: on a GPU once when it fits, else read from the memory map, which is never copied."""

    def __init__(self, features: np.ndarray, rows: list[list[int]], device: Device, limit_bytes: float) -> None:
        """Take the (memory-mapped) feature array, each sample's rows in it, and the size above which it is streamed."""
        self._device = device
        self._features = features
        self.shape: tuple[int, ...] = features.shape[1:]
        self.counts = np.array([len(found) for found in rows])
        self._starts = np.cumsum(self.counts) - self.counts
        self._rows = np.array([row for found in rows for row in found] or [0], np.int64)
        self._change: Change | None = None
        self._resident: Tensor | None = None
        used = np.unique(self._rows)
        if len(used) * math.prod(self.shape) * features.itemsize > limit_bytes:
            return
        if device.is_cuda:
            self._resident = torch.from_numpy(features[used]).to(device.device)
            self._rows = np.searchsorted(used, self._rows)
        else:
            self._resident = torch.from_numpy(features)

    def is_uniform(self) -> bool:
        """Tell whether all samples' media have the same features, or there are none; reads until one differs."""
        features: Any = self._features if self._resident is None else self._resident
        own = zip(self._starts, self.counts, strict=True)
        rows = (row for start, count in own for row in self._rows[start : start + count])
        first = next(rows, None)
        return all(row == first or bool((features[row] == features[first]).all()) for row in rows)

    def reordered(self, order: np.ndarray) -> Self:
        """Return the table in which sample i has the media of sample order[i]; -1 for none."""
        other = copy.copy(self)
        other.counts = np.where(order >= 0, self.counts[order], 0)
        other._starts = self._starts[order]
        return other

    def changed(self, change: Change) -> Self:
        """Return the table whose features are given as `change` makes them."""
        other = copy.copy(self)
        other._change = change
        return other

    def batches(self, chosen: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features (B, K, ...) and which are present (B, K) for (sample numbers (B,), picks (B, K))."""
        places = [self._places(samples, picks) for samples, picks in chosen]
        if self._resident is not None:
            gathered: Iterable[Tensor] = (
                self._resident[torch.from_numpy(place).to(self._device.device)] for place in places
            )
        else:
            streamed = read_ahead(self._gather, places, workers=1, ahead=2)
            gathered = (features.to(self._device.device, non_blocking=True) for features in streamed)
        for features, (samples, picks) in zip(gathered, chosen, strict=True):
            present = torch.from_numpy(picks >= 0).to(self._device.device)
            if not (picks >= 0).all():
                features = features.masked_fill(~present.view(*present.shape, *[1] * len(self.shape)), 0)
            if self._change:
                features = self._change(features.flatten(0, 1), samples.repeat(picks.shape[1])).view_as(features)
            yield features, present

    def _places(self, samples: np.ndarray, picks: np.ndarray) -> np.ndarray:
        places = self._starts[samples][:, None] + picks
        return self._rows[np.where(picks >= 0, places, 0)]

    def _gather(self, places: np.ndarray) -> Tensor:
        features = torch.from_numpy(self._features[places])
        return features.pin_memory() if self._device.is_cuda else features


@dataclass
class Split:
    """One split of an experiment's data: prepared rows without media, and features by modality.

    `several` are the modalities of which a sample brings several media to a batch, such as all its questions.
    """

    rows: list[dict[str, Any]]
    features: dict[str, FeatureTable]
    several: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing in it changes, and who copies a module that holds it means the weights."""
        return self

    def reordered(self, modality: str, order: np.ndarray) -> Self:
        """Return the split in which sample i has this modality of sample order[i]."""
        return dataclasses.replace(self, features=self.features | {modality: self.features[modality].reordered(order)})

    def changed(self, modality: str, change: Change) -> Self:
        """Return the split in which the features of a modality are as `change` makes them."""
        return dataclasses.replace(self, features=self.features | {modality: self.features[modality].changed(change)})

    def only(self, modalities: Collection[str]) -> Self:
        """Return the split in which all other modalities are missing."""
        nothing = np.full(len(self), -1)
        return dataclasses.replace(
            self,
            features={m: table if m in modalities else table.reordered(nothing) for m, table in self.features.items()},
        )

    def draw(self, samples: np.ndarray, num_several: int, rng: np.random.Generator) -> Picks:
        """Choose media for a training batch: one of each modality, `num_several` of those that come in several.

        No medium twice while there are others; fewer than asked for are repeated.
        """
        picks = {}
        for modality, table in self.features.items():
            wanted = num_several if modality in self.several else 1
            counts = table.counts[samples]
            if counts.max(initial=0) <= 1:
                picks[modality] = np.repeat((counts - 1)[:, None], wanted, axis=1)
                continue
            order = rng.random((len(samples), counts.max()))
            order[np.arange(order.shape[1]) >= counts[:, None]] = np.inf
            places = np.arange(wanted)[None, :] % np.maximum(counts, 1)[:, None]
            drawn = np.take_along_axis(order.argsort(1), places, 1)
            picks[modality] = np.where(counts[:, None] > 0, drawn, -1)
        return picks

    def every(self, samples: np.ndarray) -> Picks:
        """Choose the first medium of each modality, all of those that come in several."""
        picks = {}
        for modality, table in self.features.items():
            counts = table.counts[samples]
            wanted = max(1, counts.max(initial=1)) if modality in self.several else 1
            numbers = np.arange(wanted)[None, :]
            picks[modality] = np.where(numbers < counts[:, None], numbers, -1)
        return picks

    def batches(self, chosen: list[tuple[np.ndarray, Picks]]) -> Iterator[dict[str, Tensor]]:
        """Yield, for (sample numbers, picks), features by modality (B, ...) and `<modality>_present` (B,).

        For modalities that come in several: (B, K, ...) and (B, K).
        """
        streams = {
            modality: table.batches([(samples, picks[modality]) for samples, picks in chosen])
            for modality, table in self.features.items()
        }
        for found in zip(*streams.values(), strict=True):
            batch = {}
            for modality, (features, present) in zip(streams, found, strict=True):
                one = modality not in self.several
                batch[modality] = features.squeeze(1) if one else features
                batch[modality + PRESENT] = present.squeeze(1) if one else present
            yield batch

    def in_order(self, batch_size: int, some: np.ndarray | None = None) -> Iterator[InOrder]:
        """Yield batches of the whole split, or of some of its samples, in order."""
        wanted = np.arange(len(self)) if some is None else some
        chosen = [(part := wanted[at : at + batch_size], self.every(part)) for at in range(0, len(wanted), batch_size)]
        for (samples, picks), batch in zip(chosen, self.batches(chosen), strict=True):
            yield samples, picks, batch


@dataclass(frozen=True)
class Reading:
    """What an experiment reads: a data set, features by modality, and columns of the prepared rows.

    A sample is left out when it lacks one of `needed` columns, or all of the modalities.
    """

    dataset: str
    inputs: dict[str, str]
    columns: tuple[str, ...]
    needed: tuple[str, ...] = ()
    several: tuple[str, ...] = ()


def read_rows(folder: Path, split: str, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Return a prepared split's rows with those of the columns that the data set has."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        there = set(pq.read_schema(path).names)
        rows += pq.read_table(path, columns=[name for name in columns if name in there]).to_pylist()
    return rows


def load_split(reading: Reading, split: str, device: Device, limit_bytes: float) -> Split:
    """Read one split.

    Raises:
        InputError: when an artifact is missing or incomplete, the split is empty, or the two do not match.
    """
    prepared = artifact_path("prepare", reading.dataset)
    read_manifest(prepared)
    rows = read_rows(prepared, split, ["sample_id", *reading.columns])
    ids = [row["sample_id"] for row in rows]
    features = {}
    for modality, name in reading.inputs.items():
        places = read_index(name, split, ids, prepared)
        # "c": a private map, as torch wants arrays that may be written
        features[modality] = np.load(artifact_path("features", name) / FEATURES, mmap_mode="c"), places
    return join_split(reading, split, rows, features, device, limit_bytes)


def join_split(
    reading: Reading,
    split: str,
    rows: list[dict[str, Any]],
    features: dict[str, tuple[np.ndarray, list[list[int]]]],
    device: Device,
    limit_bytes: float,
) -> Split:
    """Join prepared rows with, by modality, a feature array and the places in it of each row's media.

    Raises:
        InputError: when there are no rows, or none has what the task needs.
    """
    if not rows:
        raise InputError(f"data set {reading.dataset}: the split {split} is empty; {_more(reading.dataset, split)}")
    for column in reading.needed:
        if column not in rows[0]:
            role = column.removesuffix("_tokens")
            raise InputError(
                f"data set {reading.dataset} has no {role}, which the task needs; for a table name its column in "
                f"datasets.{reading.dataset}.columns.{role}"
            )
    kept = [
        i
        for i, row in enumerate(rows)
        if all(row[c] or (c, row[c]) == NO_TAG for c in reading.needed) and any(p[i] for _, p in features.values())
    ]
    if not kept:
        wanted = " and ".join([*reading.needed, f"one of {', '.join(features)}"])
        raise InputError(
            f"data set {reading.dataset}: no sample of the split {split} has what the task needs, which is {wanted}; "
            f"{_more(reading.dataset, split)}"
        )
    if len(kept) < len(rows):
        say(f"{reading.dataset}, {split}: {len(rows) - len(kept)} of {len(rows)} samples lack what the task needs")
    tables = {
        modality: FeatureTable(array, [places[i] for i in kept], device, limit_bytes)
        for modality, (array, places) in features.items()
    }
    return Split([rows[i] for i in kept], tables, reading.several)


def _more(dataset: str, split: str) -> str:
    """Return what gives a split more samples."""
    if split == "train":
        return f"lower datasets.{dataset}.val_fraction and test_fraction where its source has them, or add samples"
    return f"raise datasets.{dataset}.{split}_fraction where its source has it, or add samples to that split"


def read_index(name: str, split: str, ids: list[str], prepared: Path) -> list[list[int]]:
    """Return the feature rows of each sample."""
    folder = artifact_path("features", name)
    read_manifest(folder)
    index = pq.read_table(folder / INDEX)
    index = index.filter(pa.compute.equal(index["split"], split))
    if index["sample_id"].to_pylist() != ids:
        raise InputError(f"{folder} was made from another {prepared}; run `dvc repro`")
    return index["rows"].to_pylist()


def feature_spec(name: str) -> FeatureSpec:
    """Return what one medium's features of a `features` artifact look like."""
    folder = artifact_path("features", name)
    shape = np.load(folder / FEATURES, mmap_mode="r").shape[1:]
    settings = read_manifest(folder)["settings"]
    names = {key: settings[key] for key in ("space", "input_of", "seconds", "cardinalities") if key in settings}
    return FeatureSpec(tuple(shape), settings["num_words"], **names)
