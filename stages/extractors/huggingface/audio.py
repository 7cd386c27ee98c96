"""Sounds through a frozen Hugging Face model. Shapes: B batch, L moments, H hidden."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.extractors.huggingface.base import FrozenModel, mean_of_real
from stages.media.audio import decode_audio, seconds_of
from stages.pretrained import huggingface as pretrained


class AudioModel(FrozenModel):
    """Moments of a sound up to `seconds`, where the model has moments; `pooled` is the mean of those in the sound."""

    modality = "audio"
    own = ("seconds",)

    def prepare(self, folder: Path) -> None:
        """Read the sound processor, and how long a sound the model hears at once."""
        self._processor = pretrained.read_sound_processor(folder)
        self._rate_hz: int = self._processor.sampling_rate
        seconds = self.settings["seconds"]
        self._num_samples = round(seconds * self._rate_hz)
        self.longest = f"{seconds:g} s"
        self._is_grid = self.kind in ("audio-spectrogram-transformer", "clap")  # bands and moments in one
        windows = {
            "whisper": lambda: self._processor.chunk_length,
            "clap": lambda: self._processor.max_length_s,
            "audio-spectrogram-transformer": lambda: self._processor.max_length / 100,  # of 10 ms
        }
        self._window_s = windows.get(self.kind, lambda: seconds)()
        if seconds > self._window_s:
            raise InputError(f"hears {self._window_s:g} s at once, fewer than seconds: {seconds:g}")

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, cut, and prepare as the model's own processor does; one row, the share of it that is sound behind."""
        return self._prepared(decode_audio(media, self._rate_hz)[: self._num_samples])

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a sound is longer."""
        return seconds_of(media) > self.settings["seconds"]

    def blank(self) -> np.ndarray:
        """Return faint noise, as a processor may divide by the deviation."""
        return self._prepared(np.random.default_rng(0).normal(0, 1e-3, self._num_samples).astype(np.float32))

    def _prepared(self, x: np.ndarray) -> np.ndarray:
        fixed = "max_length" if self._window_s == self.settings["seconds"] else None
        length = {"padding": "max_length", "max_length": self._num_samples, "truncation": True} if fixed else {}
        with torch.inference_mode():
            out = self._processor(x, sampling_rate=self._rate_hz, return_tensors="np", **length)
        values = next(out[name] for name in ("input_features", "input_values") if name in out)[0]
        self._input_shape = values.shape
        return np.append(values.astype(np.float32).ravel(), np.float32(len(x) / self._rate_hz / self._window_s))

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Return spectrogram or sound, and a mask where the model was trained with one."""
        values, share_B = torch.from_numpy(decoded[:, :-1]), torch.from_numpy(decoded[:, -1])
        values = values.unflatten(1, self._input_shape)
        if self.kind == "clap":
            return {"input_features": values, "is_longer": torch.zeros(len(values), 1, dtype=torch.bool)}, share_B
        given = {self.tower.main_input_name: values}
        if values.ndim == 2 and self._processor.return_attention_mask:
            given["attention_mask"] = (torch.arange(values.shape[1]) < share_B[:, None] * values.shape[1]).long()
        return given, share_B

    def places(self, x_BLH: Tensor, beside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the moments; those past the sound's end are not real."""
        places = x_BLH.shape[1]
        kept = places if self._is_grid else math.ceil(places * self.settings["seconds"] / self._window_s)
        share_B1 = beside.to(x_BLH.device)[:, None]
        at_L = torch.arange(places, device=x_BLH.device)
        real_BL = (at_L < (share_B1 * places).ceil()) | torch.full_like(at_L, self._is_grid, dtype=torch.bool)
        x_BLH, real_BL = x_BLH[:, :kept], real_BL[:, :kept]
        return x_BLH, real_BL, mean_of_real(x_BLH, real_BL)
