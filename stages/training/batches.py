"""Batches of a split: shuffled by seed and epoch for training, in order for validation."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stages.models.tables import Split
from stages.models.tasks import Task
from stages.params import TrainParams


class TrainBatches:
    """Shuffled batches; the order depends on seed and epoch alone, so a resumed run sees the same."""

    def __init__(self, split: Split, task: Task, train: TrainParams) -> None:
        """Take the training split."""
        self._split, self._task, self._train = split, task, train
        self._targets = task.targets(split.rows)
        self.epoch = 0
        self.rank, self.world_size = 0, 1

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return math.ceil(len(self._split) / self._train.batch_size / self.world_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield this epoch's batches of this process."""
        rng = np.random.default_rng([self._train.seed, self.epoch])
        order = rng.permutation(len(self._split))
        size = self._train.batch_size * self.world_size
        wanted = len(self) * self.world_size * self._train.batch_size
        order = np.resize(order, wanted) if self.world_size > 1 else order
        chosen = [order[start : start + size] for start in range(0, len(order), size)]
        mine = [np.sort(rows[self.rank :: self.world_size]) for rows in chosen]
        picked = [(samples, self._split.draw(samples, self._train.texts_per_step, rng)) for samples in mine]
        targets = [self._task.take(self._targets, samples, picks, self._train, rng) for samples, picks in picked]
        for features, target in zip(self._split.batches(picked), targets, strict=True):
            yield features | {key: torch.from_numpy(value) for key, value in target.items()}


class ValidationBatches:
    """The validation split in order, with every target."""

    def __init__(self, split: Split, task: Task, batch_size: int) -> None:
        """Take the validation split."""
        self._split, self._task, self._batch_size = split, task, batch_size
        self._targets = task.targets(split.rows)

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(len(self._split) / self._batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield all batches."""
        for samples, picks, features in self._split.in_order(self._batch_size):
            targets = self._task.take(self._targets, samples, picks)
            yield features | {key: torch.from_numpy(value) for key, value in targets.items()}
