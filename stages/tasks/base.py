"""What a task is: a model with its loss, its targets from prepared rows, and its predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from stages.params import ExperimentParams

Batch = dict[str, Tensor]  # keys: "image" (B, *feature shape) and those of `Task.targets`


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a task's model anew; it stands in `model.json`."""

    experiment: ExperimentParams
    feature_shapes: dict[str, tuple[int, ...]]  # by modality
    vocabulary: list[str]


class Task(nn.Module):
    """The protocol of a task."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the model."""
        super().__init__()
        self.config = config

    def targets(self, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Turn prepared rows into arrays whose first axis is the sample."""
        raise NotImplementedError

    def draw(
        self, targets: dict[str, np.ndarray], rows: np.ndarray, train: Any, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Choose what a training batch of these rows sees of the targets."""
        raise NotImplementedError

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the mean loss of a batch; with `train`, what regularises training is in it."""
        raise NotImplementedError

    def predict(self, batch: Batch, evaluate: Any) -> list[dict[str, Any]]:
        """Return one dict per sample."""
        raise NotImplementedError
