"""Raw media in, answers out: a trained model with the extractors of its inputs, as training saw them."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.base.device import Device, set_up
from stages.base.errors import InputError, MediaError
from stages.base.parallel import in_batches
from stages.base.store import FIELDS
from stages.extractors import Extractor, load_extractor
from stages.extractors.base import read_text
from stages.extractors.fields import Fields
from stages.media.audio import clean_audio
from stages.media.colours import WHITE
from stages.media.images import clean_image
from stages.media.text import tokenize
from stages.media.video import VideoBounds, clean_video
from stages.models.model import answering_of, load_model
from stages.models.tables import PRESENT
from stages.models.tasks import Task
from stages.packaging.answering import greedily, text_of
from stages.packaging.windows import Window, joined, windows_of, within
from stages.params import BaseParams, EvaluateParams
from stages.registry.bases import bring_bases

TRANSCRIBE = "transcribe"
OF_OLDER = VideoBounds(60.0, 9.0)  # versions from before there were videos read none


@dataclass(frozen=True)
class PredictSettings:
    """What of the params decides an answer beside the model itself."""

    evaluate: EvaluateParams
    max_image_megapixels: float
    max_audio_seconds: float
    transparent_on: str = WHITE  # also of versions from before it was a value
    video: VideoBounds = OF_OLDER


@dataclass(frozen=True)
class Part:
    """What of a sample is answered at once, and which window of its sound that is."""

    sample: dict[str, bytes | None]
    window: Window | None = None

    def told(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what an answer to the part says of the whole."""
        return within(self.window, answer) if self.window else answer


def open_model(folder: Path, settings: dict[str, Any]) -> "Predictor":
    """Make a version's model folder ready to answer; `settings` travel with it, as `logged_model` wrote them."""
    device = set_up(*BaseParams(**settings["base"]).hardware())
    evaluate = EvaluateParams(**settings["evaluate"])
    background = settings.get("transparent_on", WHITE)
    bounds = settings["max_image_megapixels"], settings["max_audio_seconds"]
    seconds = settings.get("max_video_seconds", OF_OLDER.seconds)
    video = VideoBounds(seconds, settings.get("max_video_megapixels", OF_OLDER.megapixels))
    return Predictor.load(folder, PredictSettings(evaluate, *bounds, background, video), device)


class Predictor:
    """A model ready to answer."""

    def __init__(
        self,
        task: Task,
        extractors: dict[str, Extractor],
        settings: PredictSettings,
        device: Device,
        writers: "Mapping[str, Predictor] | None" = None,
    ) -> None:
        """Take the parts; `writers` are, by modality, models that write the text of a sample that is given none."""
        self.task, self._extractors, self._settings, self._device = task, extractors, settings, device
        self._writers = writers or {}

    @classmethod
    def load(cls, folder: Path, settings: PredictSettings, device: Device) -> Self:
        """Read a model folder as `train` writes it; bases that it refers to come from the registry, where not here.

        Raises:
            InputError: when a base is missing or changed.
        """
        bring_bases(folder)
        task = load_model(folder, device)
        task.read_beside(folder)
        extractors, writers = {}, {}
        for modality in task.config.experiment.given():
            extractors[modality] = load_extractor(folder / modality, device).in_service()
            if writer := answering_of(folder / modality):
                evaluate = greedily(settings.evaluate, settings.evaluate.batch_size)
                writers[modality] = cls.load(writer, dataclasses.replace(settings, evaluate=evaluate), device)
        return cls(task, extractors, settings, device, writers)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What a sample can be given as."""
        written_from = (modality for writer in self._writers.values() for modality in writer.modalities)
        return tuple(dict.fromkeys((*self._extractors, *written_from)))

    @property
    def beside(self) -> tuple[str, ...]:
        """What may be given beside modalities."""
        return self.task.beside(self.task.config.experiment)

    def predict(self, samples: list[dict[str, bytes | None]]) -> list[dict[str, Any]]:
        """Answer samples given by modality, as encoded bytes or UTF-8 text, in batches; None is a missing one.

        Raises:
            InputError: naming the sample that cannot be used, and why.
        """
        answers: list[list[dict[str, Any]]] = [[] for _ in samples]
        for batch in in_batches(self._read_all(samples), self._settings.evaluate.batch_size):
            for (i, part, _), answer in zip(batch, self.answer([read for _, _, read in batch]), strict=True):
                answers[i].append(part.told(answer))
        return [self.joined(found) for found in answers]

    def _read_all(self, samples: list[dict[str, bytes | None]]) -> Iterator[tuple[int, "Part", Any]]:
        for i, sample in enumerate(samples):
            try:
                for part in self.parts(sample):
                    yield i, part, self.read(part.sample)
            except InputError as error:
                raise InputError(f"sample {i}: {error}") from None

    def parts(self, sample: dict[str, bytes | None]) -> list["Part"]:
        """Return what of a sample is answered at once: all of it, unless it is a longer sound than a model hears.

        Raises:
            InputError: saying what cannot be used, and why.
        """
        data = sample.get("audio")
        if self.task.config.experiment.task != TRANSCRIBE or tuple(self._extractors) != ("audio",) or data is None:
            return [Part(sample)]
        try:
            clean, rate_hz = clean_audio(data, self._settings.max_audio_seconds)
            found = windows_of(clean, self.task.config.features["audio"].seconds, rate_hz)
        except MediaError as error:
            raise InputError(f"audio: {error}") from None
        return [Part(sample | {"audio": window.audio}, window) for window in found]

    def joined(self, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to a sample from those to its parts."""
        return joined(answers) if len(answers) > 1 else answers[0]

    def read(self, sample: dict[str, bytes | None]) -> dict[str, Any]:
        """Check, clean and decode one sample, by modality; safe to call from several threads.

        Returns:
            An array, None for a missing modality, or what the model read that is to write its text.

        Raises:
            InputError: saying what cannot be used, and why.
        """
        given = self._with_cells({modality: sample.get(modality) for modality in self._extractors})
        given = self._with_sound(given)
        written = {
            modality: writer.read(sample)
            for modality, writer in self._writers.items()
            if given[modality] is None and any(sample.get(source) is not None for source in writer.modalities)
        }
        for modality in self.task.config.experiment.required():
            if given[modality] is None and modality not in self._writers:
                raise InputError(f"{modality} is missing, and the task needs it")
        enough = self.beside if self.task.enough else ()
        told = [*given.values(), *(sample.get(name) for name in enough)]
        if not written and all(data is None for data in told):
            raise InputError(f"nothing is given; give one or more of {', '.join((*self.modalities, *enough))}")
        decoded = {m: None if data is None else self._decode(m, data) for m, data in given.items()}
        return decoded | written | self.task.read_also(sample)

    def _with_cells(self, given: dict[str, bytes | None]) -> dict[str, bytes | None]:
        """Normalise the cells of fields; where none has a value, the sample has no fields."""
        if (data := given.get(FIELDS)) is None:
            return given
        try:
            return given | {FIELDS: self._of_fields().given(data)}
        except MediaError as error:
            raise InputError(f"{FIELDS}: {error}") from None

    def _with_sound(self, given: dict[str, bytes | None]) -> dict[str, bytes | None]:
        """Clean a video; its sound is heard where the model hears and no other is given, as `prepare` has it."""
        if (data := given.get("video")) is None:
            return given
        try:
            clean, sound = clean_video(data, self._settings.video)
        except MediaError as error:
            raise InputError(f"video: {error}") from None
        heard = {"audio": sound} if "audio" in given and given["audio"] is None else {}
        return given | {"video": clean} | heard

    def _decode(self, modality: str, data: bytes) -> np.ndarray:
        try:
            return self._extractors[modality].decode(self._clean(modality, data))
        except MediaError as error:
            raise InputError(f"{modality}: {error}") from None

    def fields_asked(self) -> list[dict[str, Any]]:
        """Return what a person is asked for, field by field; see `Columns.described`. Empty where there are none."""
        return self._of_fields().columns.described() if FIELDS in self._extractors else []

    def _of_fields(self) -> Fields:
        extractor = self._extractors[FIELDS]
        assert isinstance(extractor, Fields), "params allow no other"
        return extractor

    def answer(self, read: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer one batch of what `read` gave."""
        batch: dict[str, torch.Tensor] = {}
        for modality in self._extractors:
            batch |= self._features(modality, self._with_written(modality, [sample[modality] for sample in read]))
        for name in self.beside:
            batch[name] = torch.from_numpy(np.array([sample[name] for sample in read])).to(self._device.device)
        return self.task.explained(batch, self.task.predict(batch, self._settings.evaluate))

    def _with_written(self, modality: str, decoded: list[Any]) -> list[np.ndarray | None]:
        """Return a modality of a batch, with what another model writes where there was no text."""
        asked = [i for i, found in enumerate(decoded) if isinstance(found, dict)]
        if not asked:
            return decoded
        writer, extractor = self._writers[modality], self._extractors[modality]
        texts = [text_of(writer.task, answer) for answer in writer.answer([decoded[i] for i in asked])]
        written = {i: extractor.decode(text.encode()) if text else None for i, text in zip(asked, texts, strict=True)}
        return [written.get(i, found) for i, found in enumerate(decoded)]

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
        if modality == "video":
            return data  # `_with_sound` did
        if modality == "audio":
            return clean_audio(data, self._settings.max_audio_seconds)[0]
        if modality == FIELDS:
            return data  # `_with_cells` did
        text = " ".join(read_text(data).split())
        if not tokenize(text):
            raise MediaError("no word in it")
        return text.encode()
