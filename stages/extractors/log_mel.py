"""Sounds as log-mel spectrograms of one length: what a trained audio encoder reads.

The spectrogram costs less than decoding the sound, so it is made with it, one sound at a time on the CPU:
its bytes depend on no batch and no accelerator.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import write_json
from stages.extractors.torch_extractor import TorchExtractor
from stages.media.audio import decode_audio, seconds_of

VERSION = 1
FLOOR = 1e-6  # added to the power, so that silence has a logarithm: -13.8
LEADING_SILENCE = 0.01  # of the peak (-40 dB): what stays below it at the start is cut off
SETTINGS = ("rate_hz", "seconds", "mel_bands", "window_ms", "hop_ms")
USUAL = {"leading_silence": "cut", "snr_db": "none"}  # which are not in identities from before they were settings


class LogMel(TorchExtractor):
    """float16 (frames, mel_bands), one frame each `hop_ms`; frames past the sound hold log(FLOOR)."""

    dtype = "float16"

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take `SETTINGS` by name, and of `USUAL` what is other than usual.

        Raises:
            ValueError: when window or hop is under a sample, or a band is too narrow to hold a frequency.
        """
        super().__init__()
        self.settings = settings
        self._num_samples, window, self._hop = (
            round(settings["rate_hz"] * seconds)
            for seconds in (settings["seconds"], settings["window_ms"] / 1000, settings["hop_ms"] / 1000)
        )
        if min(self._num_samples, window, self._hop) < 1:
            raise ValueError(f"seconds, window_ms or hop_ms is under one sample at {settings['rate_hz']} Hz")
        self.longest, self.seconds = f"{settings['seconds']:g} s", settings["seconds"]
        self._window = torch.hann_window(window)
        self._fft_size = 2 ** (window - 1).bit_length() * 2  # a power of two, at least twice the window
        self._filters_FM = mel_filterbank(self._fft_size // 2 + 1, settings["mel_bands"], settings["rate_hz"])
        if not (self._filters_FM > 0).any(0).all():
            raise ValueError(
                f"mel_bands: {settings['mel_bands']} are too many for a window of {settings['window_ms']:g} ms at "
                f"{settings['rate_hz']} Hz: some hold no frequency; use fewer bands or a longer window"
            )
        self.shape = (1 + self._num_samples // self._hop, settings["mel_bands"])

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml.

        Raises:
            InputError: when its values do not go together.
        """
        try:
            unusual = {name: getattr(params, name) for name in USUAL if getattr(params, name) != USUAL[name]}
            return cls({name: getattr(params, name) for name in SETTINGS} | unusual)
        except ValueError as error:
            raise InputError(f"{key}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return {"extractor": "log_mel", "version": VERSION, **self.settings}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, cut leading silence, bring to one length and return the log-mel spectrogram.

        Noise is drawn by the sound's bytes: the same sound has the same.
        """
        x = decode_audio(media, self.settings["rate_hz"])
        if self._setting("snr_db") != "none":
            x = with_noise(x, self._setting("snr_db"), int.from_bytes(hashlib.sha256(media).digest()[:8], "big"))
        x = loud_part(x, self._num_samples, self._setting("leading_silence") == "cut")
        return self.log_mel(torch.from_numpy(x)).to(torch.float16).numpy()

    def _setting(self, name: str) -> Any:
        return self.settings.get(name, USUAL[name])

    def in_service(self) -> Self:
        """Return what adds no noise: sounds that are sent have their own."""
        return type(self)({name: value for name, value in self.settings.items() if name != "snr_db"})

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a sound is longer, leading silence counted."""
        return seconds_of(media) > self.settings["seconds"]

    def log_mel(self, x_T: torch.Tensor) -> torch.Tensor:
        """Turn a sound (num_samples,) into its spectrogram (frames, mel_bands); frame i has its middle at i hops."""
        spectrum_FT = torch.stft(
            x_T,
            self._fft_size,
            hop_length=self._hop,
            win_length=len(self._window),
            window=self._window,
            pad_mode="constant",
            return_complex=True,
        )
        power_TF = spectrum_FT.abs().square().T
        return torch.log(FLOOR + power_TF @ self._filters_FM)

    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Return the spectrograms as they are."""
        return decoded

    def save(self, folder: Path) -> None:
        """Write the settings."""
        write_json(folder / "extractor.json", self.identity())

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read the settings."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls({name: settings[name] for name in (*SETTINGS, *USUAL) if name in settings})


def with_noise(x: np.ndarray, snr_db: float, seed: int) -> np.ndarray:
    """Add white noise of a power so many dB below that of the whole sound."""
    noise = np.random.default_rng(seed).standard_normal(len(x), np.float32)
    return x + noise * np.float32(np.sqrt(np.square(x).mean()) * 10 ** (-snr_db / 20))


def loud_part(x: np.ndarray, num_samples: int, cut: bool = True) -> np.ndarray:
    """Scale a sound to a peak of 1, cut leading silence, and crop or pad with zeros at the end to `num_samples`."""
    peak = np.abs(x).max()
    x = x / peak if peak else x
    start = np.argmax(np.abs(x) >= LEADING_SILENCE) if cut else 0
    x = x[start : start + num_samples]
    return np.pad(x, (0, num_samples - len(x)))


def mel_filterbank(num_bins: int, mel_bands: int, rate_hz: int) -> torch.Tensor:
    """Return triangles (num_bins, mel_bands) of peak 1 over the frequencies 0 to rate_hz / 2 of a power spectrum.

    Their corners are equally far apart in mel = 2595 log10(1 + Hz / 700) (The HTK Book, version 3.4, section 5.4);
    each triangle rises from its left neighbour's middle to its own and falls to its right neighbour's.
    """
    top_mel = 2595 * np.log10(1 + rate_hz / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top_mel, mel_bands + 2) / 2595) - 1)
    left, middle, right = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    bins_hz = np.linspace(0, rate_hz / 2, num_bins)[:, None]
    rising, falling = (bins_hz - left) / (middle - left), (right - bins_hz) / (right - middle)
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling))).to(torch.float32)
