"""Sounds through a frozen Hugging Face model. Shapes: B batch, L moments, H hidden."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.extractors.huggingface.base import FrozenModel, mean_of_real
from stages.media.audio import decode_audio, seconds_of
from stages.pretrained.inputs import SoundInput, is_grid, sound_given, sound_places


class AudioModel(FrozenModel):
    """Moments of a sound up to `seconds`, where the model has moments; `pooled` is the mean of those in the sound."""

    modality = "audio"
    own = ("seconds",)

    def prepare(self, folder: Path) -> None:
        """Read the sound processor, and how long a sound the model hears at once."""
        self._input = SoundInput(folder, self.settings["seconds"])
        self.longest = f"{self.settings['seconds']:g} s"

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, cut, and prepare as the model's own processor does; one row, the share of it that is sound behind."""
        return self._prepared(decode_audio(media, self._input.rate_hz)[: self._input.num_samples])

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a sound is longer."""
        return seconds_of(media) > self.settings["seconds"]

    def blank(self) -> np.ndarray:
        """Return what is made of the longest sound."""
        return self._prepared(self._input.blank())

    def _prepared(self, x: np.ndarray) -> np.ndarray:
        values = self._input.values(x)
        self._input_shape = values.shape
        return np.append(values.ravel(), np.float32(self._input.share(x)))

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Return spectrogram or sound, and a mask where the model was trained with one."""
        values, share_B = torch.from_numpy(decoded[:, :-1]), torch.from_numpy(decoded[:, -1])
        return sound_given(self.tower, values.unflatten(1, self._input_shape), share_B, self._input.is_masked), share_B

    def places(self, x_BLH: Tensor, beside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the moments; those past the sound's end are not real."""
        places = x_BLH.shape[1]
        share = 1.0 if is_grid(self.tower) else self.settings["seconds"] / self._input.window_s
        kept = math.ceil(places * share)
        real_BL = sound_places(self.tower, places, beside.to(x_BLH.device))
        x_BLH, real_BL = x_BLH[:, :kept], real_BL[:, :kept]
        return x_BLH, real_BL, mean_of_real(x_BLH, real_BL)
