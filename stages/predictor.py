"""Raw media in, answers out: a trained model with the extractors of its inputs, as training saw them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.device import Device
from stages.errors import InputError
from stages.extractors import EXTRACTORS, Extractor
from stages.images import ImageError, clean_image
from stages.model import load_model
from stages.params import EvaluateParams
from stages.tasks import Task


@dataclass(frozen=True)
class PredictSettings:
    """What of the params decides an answer beside the model itself."""

    evaluate: EvaluateParams
    max_image_megapixels: float


class Predictor:
    """A model ready to answer."""

    def __init__(self, task: Task, extractors: dict[str, Extractor], settings: PredictSettings, device: Device) -> None:
        """Take the parts."""
        self._task, self._extractors, self._evaluate, self._device = task, extractors, settings.evaluate, device
        self._max_pixels = int(settings.max_image_megapixels * 1e6)

    @classmethod
    def load(cls, folder: Path, settings: PredictSettings, device: Device) -> Self:
        """Read a model folder as `train` writes it."""
        task = load_model(folder, device)
        extractors = {}
        for modality in task.config.feature_shapes:
            kind = _extractor_kind(folder / modality)
            extractors[modality] = EXTRACTORS[kind].load(folder / modality, device)
        return cls(task, extractors, settings, device)

    def predict(self, samples: list[dict[str, bytes]]) -> list[dict[str, Any]]:
        """Answer samples given as encoded bytes by modality, in batches.

        Raises:
            InputError: naming the sample whose bytes cannot be used, and why.
        """
        answers: list[dict[str, Any]] = []
        for start in range(0, len(samples), self._evaluate.batch_size):
            batch = samples[start : start + self._evaluate.batch_size]
            features = {m: self._features(m, [sample[m] for sample in batch], start) for m in self._extractors}
            answers += self._task.predict(features, self._evaluate)
        return answers

    def _features(self, modality: str, media: list[bytes], start: int) -> torch.Tensor:
        extractor = self._extractors[modality]
        decoded = []
        for i, data in enumerate(media, start=start):
            try:
                decoded.append(extractor.decode(clean_image(data, self._max_pixels)))
            except ImageError as error:
                raise InputError(f"sample {i}: {modality}: {error}") from None
        features = extractor.extract(torch.from_numpy(np.stack(decoded)))
        return torch.from_numpy(features).to(self._device.device)


def _extractor_kind(folder: Path) -> str:
    return json.loads((folder / "extractor.json").read_text(encoding="utf8"))["extractor"]
