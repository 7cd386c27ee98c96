"""What a Hugging Face model itself reads, made once: the features of an encoder that goes on learning.

Texts become the word pieces of its tokenizer, sounds the spectrogram or wave of its preprocessor. The files that make
them travel with the extractor, and their digest with the features: an encoder of another model refuses them.
"""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from stages.base.device import Device
from stages.base.errors import InputError
from stages.extractors.base import Extractor, read_text
from stages.extractors.torch_extractor import TorchExtractor
from stages.media.audio import decode_audio, seconds_of
from stages.pretrained import huggingface as pretrained
from stages.pretrained import inputs

VERSION = 1
CONFIG = "config.json"  # where an older tokenizer is told by the kind of its model


class OfOneModality(TorchExtractor):
    """What texts and sounds share; `longest` and the like follow from `setting`, a number."""

    modality: ClassVar[str]
    setting: ClassVar[str]

    def __init__(self, folder: Path, value: Any) -> None:
        """Read from a model's folder what makes its input."""
        super().__init__()
        self._folder, self._value = folder, value
        self._digest = inputs.files_digest(folder, self.modality)

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        settings = {"extractor": "model_input", "version": VERSION, "modality": self.modality}
        return settings | {"input_of": self._digest, self.setting: self._value}

    def save(self, folder: Path) -> None:
        """Write settings, and copy the files that make the input."""
        super().save(folder)
        for path in [*inputs.files(self._folder, self.modality), self._folder / CONFIG]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)


class TextModelInput(OfOneModality):
    """int32 (max_words,): the numbers of word pieces and one, cut with their end kept; 0 stands behind a text."""

    modality, setting = "text", "max_words"
    dtype = "int32"

    def __init__(self, folder: Path, max_words: int) -> None:
        """Read the tokenizer; a text has at most `max_words` pieces."""
        super().__init__(folder, max_words)
        self._input = inputs.TextInput(folder, max_words)
        self.shape = (max_words,)
        self.longest = f"{max_words} word pieces"

    def decode(self, media: bytes) -> np.ndarray:
        """Cut UTF-8 text into word pieces."""
        return (self._input.ids(read_text(media)) - inputs.PADDING).astype(np.int32)

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a text has more pieces."""
        return self._input.exceeds(read_text(media))


class AudioModelInput(OfOneModality):
    """float16, as the model wants it; behind each row stands the share of the whole that is sound."""

    modality, setting = "audio", "seconds"
    dtype = "float16"

    def __init__(self, folder: Path, seconds: float) -> None:
        """Read the preprocessor; a sound is cut after `seconds`, and what hears more at once hears no more."""
        super().__init__(folder, seconds)
        self._input = inputs.SoundInput(folder, seconds, whole_window=False)
        self.longest = f"{seconds:g} s"
        self.shape = self._row(self._input.blank()).shape

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, cut, and prepare as the model's own processor does."""
        return self._row(decode_audio(media, self._input.rate_hz)[: self._input.num_samples])

    def _row(self, x: np.ndarray) -> np.ndarray:
        values = self._input.values(x)
        share = np.full((*values.shape[:-1], 1), self._input.share(x))
        return np.concatenate([values, share], axis=-1).astype(np.float16)

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a sound is longer."""
        return seconds_of(media) > self._value


BY_MODALITY: dict[str, Any] = {kind.modality: kind for kind in (TextModelInput, AudioModelInput)}


class ModelInput(Extractor):
    """Chooses the one of a modality."""

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make the extractor of `params.modality`.

        Raises:
            InputError: when transformers is not installed, or the model's files cannot be had or are not for it.
        """
        kind = BY_MODALITY[params.modality]
        try:
            return kind(pretrained.fetch(params.model, params.revision), getattr(params, kind.setting))
        except InputError as error:
            raise InputError(f"{key}.model: {params.model}: {error}") from None

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read settings and files."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        kind = BY_MODALITY[settings["modality"]]
        return kind(folder, settings[kind.setting])
