"""Raw media in, answers out: a trained model with the extractors of its inputs, as training saw them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.base.device import Device, set_up
from stages.base.errors import InputError, MediaError
from stages.extractors import Extractor, load_extractor
from stages.extractors.base import read_text
from stages.media.audio import clean_audio
from stages.media.colours import WHITE
from stages.media.images import clean_image
from stages.media.text import tokenize
from stages.models.model import load_model
from stages.models.tables import PRESENT
from stages.models.tasks import Task
from stages.params import BaseParams, EvaluateParams
from stages.registry.bases import bring_bases


@dataclass(frozen=True)
class PredictSettings:
    """What of the params decides an answer beside the model itself."""

    evaluate: EvaluateParams
    max_image_megapixels: float
    max_audio_seconds: float
    transparent_on: str = WHITE  # also of versions from before it was a value


def open_model(folder: Path, settings: dict[str, Any]) -> "Predictor":
    """Make a version's model folder ready to answer; `settings` travel with it, as `logged_model` wrote them."""
    device = set_up(*BaseParams(**settings["base"]).hardware())
    evaluate = EvaluateParams(**settings["evaluate"])
    background = settings.get("transparent_on", WHITE)
    bounds = settings["max_image_megapixels"], settings["max_audio_seconds"]
    return Predictor.load(folder, PredictSettings(evaluate, *bounds, background), device)


class Predictor:
    """A model ready to answer."""

    def __init__(self, task: Task, extractors: dict[str, Extractor], settings: PredictSettings, device: Device) -> None:
        """Take the parts."""
        self.task, self._extractors, self._settings, self._device = task, extractors, settings, device

    @classmethod
    def load(cls, folder: Path, settings: PredictSettings, device: Device) -> Self:
        """Read a model folder as `train` writes it; bases that it refers to come from the registry, where not here.

        Raises:
            InputError: when a base is missing or changed.
        """
        bring_bases(folder)
        task = load_model(folder, device)
        extractors = {}
        for modality in task.config.features:
            extractors[modality] = load_extractor(folder / modality, device).in_service()
        return cls(task, extractors, settings, device)

    def predict(self, samples: list[dict[str, bytes | None]]) -> list[dict[str, Any]]:
        """Answer samples given by modality, as encoded bytes or UTF-8 text, in batches; None is a missing one.

        Raises:
            InputError: naming the sample that cannot be used, and why.
        """
        answers: list[dict[str, Any]] = []
        size = self._settings.evaluate.batch_size
        for start in range(0, len(samples), size):
            batch = []
            for i, sample in enumerate(samples[start : start + size], start=start):
                try:
                    batch.append(self.read(sample))
                except InputError as error:
                    raise InputError(f"sample {i}: {error}") from None
            answers += self.answer(batch)
        return answers

    def read(self, sample: dict[str, bytes | None]) -> dict[str, np.ndarray | None]:
        """Check, clean and decode one sample, by modality; safe to call from several threads.

        Raises:
            InputError: saying what cannot be used, and why.
        """
        given = {modality: sample.get(modality) for modality in self._extractors}
        for modality in self.task.config.experiment.required():
            if given[modality] is None:
                raise InputError(f"{modality} is missing, and the task needs it")
        if all(data is None for data in given.values()):
            raise InputError(f"nothing is given; give one or more of {', '.join(self._extractors)}")
        return {modality: None if data is None else self._decode(modality, data) for modality, data in given.items()}

    def _decode(self, modality: str, data: bytes) -> np.ndarray:
        try:
            return self._extractors[modality].decode(self._clean(modality, data))
        except MediaError as error:
            raise InputError(f"{modality}: {error}") from None

    def answer(self, read: list[dict[str, np.ndarray | None]]) -> list[dict[str, Any]]:
        """Answer one batch of what `read` gave."""
        batch: dict[str, torch.Tensor] = {}
        for modality in self._extractors:
            batch |= self._features(modality, [sample[modality] for sample in read])
        return self.task.predict(batch, self._settings.evaluate)

    def _features(self, modality: str, decoded: list[np.ndarray | None]) -> dict[str, torch.Tensor]:
        """Return the batch entries of one modality; the features of a missing medium are zeros."""
        extractor = self._extractors[modality]
        found = {i: data for i, data in enumerate(decoded) if data is not None}
        features = np.zeros((len(decoded), *extractor.shape), extractor.dtype)
        if found:
            features[list(found)] = extractor.extract(np.stack(list(found.values())))
        there = torch.tensor([data is not None for data in decoded])
        batch = {modality: torch.from_numpy(features), modality + PRESENT: there}
        if modality in self.task.several:
            batch = {key: value.unsqueeze(1) for key, value in batch.items()}
        return {key: value.to(self._device.device) for key, value in batch.items()}

    def _clean(self, modality: str, data: bytes) -> bytes:
        """Do what `prepare` does to one medium."""
        if modality == "image":
            max_pixels = int(self._settings.max_image_megapixels * 1e6)
            return clean_image(data, max_pixels, self._settings.transparent_on)
        if modality == "audio":
            return clean_audio(data, self._settings.max_audio_seconds)[0]
        text = " ".join(read_text(data).split())
        if not tokenize(text):
            raise MediaError("no word in it")
        return text.encode()
