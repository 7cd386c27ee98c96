"""What a Hugging Face model reads: texts and sounds, as its own tokenizer or preprocessor makes them.

It stands here once for the frozen extractors, and for the encoders that go on learning from stored inputs.
Shapes: B batch, L word pieces or moments.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.base.store import digest, sha256_file
from stages.pretrained import huggingface as pretrained

PADDING = -1  # among the numbers of word pieces, of which 0 is one


def files(folder: Path, modality: str) -> list[Path]:
    """Return those files of a model's folder that decide what it reads of a `text` or of `audio`."""
    patterns = pretrained.TOKENIZER if modality == "text" else pretrained.PREPROCESSORS
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def files_digest(folder: Path, modality: str) -> str:
    """Return what names the bytes of these: models of one tokenizer read the same."""
    return digest({path.name: sha256_file(path) for path in files(folder, modality)})


class TextInput:
    """The word pieces of texts."""

    def __init__(self, folder: Path, max_words: int) -> None:
        """Read the tokenizer; `max_words` pieces are the longest text.

        Raises:
            InputError: when there is none.
        """
        self.max_words = max_words
        self._tokenizer = pretrained.read_tokenizer(folder)
        self.pad: int | None = self._tokenizer.pad_token_id
        self.num_pieces: int = self._tokenizer.vocab_size
        self._lock = threading.Lock()  # fast tokenizers cannot be used by two threads at once

    def ids(self, text: str) -> np.ndarray:
        """Turn a text into the numbers of its pieces, int64 (max_words,), `PADDING` behind them."""
        found = self._ids(text, truncation=True, max_length=self.max_words)
        out = np.full(self.max_words, PADDING, np.int64)
        out[: len(found)] = found
        return out

    def exceeds(self, text: str) -> bool:
        """Tell whether a text has more pieces."""
        return len(self._ids(text)) > self.max_words

    def _ids(self, text: str, **how: Any) -> list[int]:
        with self._lock:
            return self._tokenizer(text, **how)["input_ids"]

    def check(self, tower: Any) -> None:
        """Hold the tokenizer against the model's weights.

        Raises:
            InputError: when it has pieces that they do not know.
        """
        known = tower.get_input_embeddings().num_embeddings
        if self.num_pieces > known:
            raise InputError(
                f"its tokenizer has {self.num_pieces} word pieces, its weights {known}: files of two models"
            )


def reads_padding(tower: Any) -> bool:
    """Tell whether texts were padded in a model's training and what is padding was read (SigLIP, Zhai et al. 2023)."""
    return tower.config.model_type.startswith("siglip")


def text_given(tower: Any, ids_BL: Tensor, pad: int | None) -> dict[str, Tensor]:
    """Return what a model of texts is called with; where there is no text at all, its first place is read."""
    real_BL = ids_BL != PADDING
    if reads_padding(tower):
        return {"input_ids": ids_BL.masked_fill(~real_BL, pad or 0)}
    seen_BL = real_BL | ((torch.arange(ids_BL.shape[1], device=ids_BL.device) == 0) & ~real_BL.any(1, keepdim=True))
    return {"input_ids": ids_BL.clamp(min=0), "attention_mask": seen_BL.long()}


class SoundInput:
    """Spectrograms or waves, as a model's own processor makes them."""

    def __init__(self, folder: Path, seconds: float, whole_window: bool = True) -> None:
        """Read the processor; a sound is cut after `seconds`.

        What a shorter one is filled up to is the window that the model hears at once; `whole_window` off leaves it
        away where the model can do without, as Whisper can, whose windows are of 30 s.

        Raises:
            InputError: when there is none, or it hears less.
        """
        self._processor = pretrained.read_sound_processor(folder)
        self.rate_hz: int = self._processor.sampling_rate
        self.is_masked = is_masked(self._processor)
        kind = type(self._processor).__name__.removesuffix("FeatureExtractor")
        windows = {
            "Whisper": lambda: self._processor.chunk_length,
            "Clap": lambda: self._processor.max_length_s,
            "AST": lambda: self._processor.max_length / 100,  # of 10 ms
        }
        self.window_s: float = windows.get(kind, lambda: seconds)()
        if seconds > self.window_s:
            raise InputError(f"hears {self.window_s:g} s at once, fewer than seconds: {seconds:g}")
        self.num_samples = round(seconds * self.rate_hz)
        if kind == "Whisper" and not whole_window:
            moment = 2 * self._processor.hop_length  # two frames make one
            self.num_samples = -(-self.num_samples // moment) * moment
            self.window_s = seconds = self.num_samples / self.rate_hz
        self._is_full = self.window_s == seconds

    def values(self, x: np.ndarray) -> np.ndarray:
        """Turn a sound into what the model reads, float32."""
        length: dict[str, Any] = {}
        if self._is_full:
            length = {"padding": "max_length", "max_length": self.num_samples, "truncation": True}
        with torch.inference_mode():
            out = self._processor(x, sampling_rate=self.rate_hz, return_tensors="np", **length)
        return next(out[name] for name in ("input_features", "input_values") if name in out)[0].astype(np.float32)

    def share(self, x: np.ndarray) -> float:
        """Return how much of the window a sound fills."""
        return len(x) / self.rate_hz / self.window_s

    def blank(self) -> np.ndarray:
        """Return faint noise of the longest sound, as a processor may divide by the deviation."""
        return np.random.default_rng(0).normal(0, 1e-3, self.num_samples).astype(np.float32)


def is_masked(processor: Any) -> bool:
    """Tell whether a model of sounds was trained with a mask of what is sound."""
    return bool(getattr(processor, "return_attention_mask", False))


def is_grid(tower: Any) -> bool:
    """Tell whether a model of sounds puts out bands and moments in one, so that no place is behind a sound."""
    return tower.config.model_type.startswith(("audio-spectrogram-transformer", "clap"))


def sound_given(tower: Any, values: Tensor, share_B: Tensor, is_masked: bool) -> dict[str, Tensor]:
    """Return what a model of sounds is called with: with a mask where it was trained with one."""
    if tower.config.model_type.startswith("clap"):
        return {"input_features": values, "is_longer": values.new_zeros(len(values), 1, dtype=torch.bool)}
    given = {tower.main_input_name: values}
    if values.ndim == 2 and is_masked:
        real_BL = torch.arange(values.shape[1], device=values.device) < share_B[:, None] * values.shape[1]
        given["attention_mask"] = real_BL.long()
    return given


def sound_places(tower: Any, places: int, share_B: Tensor) -> Tensor:
    """Return which places are of the sound, (B, places)."""
    at_L = torch.arange(places, device=share_B.device)
    return (at_L < (share_B[:, None] * places).ceil()) | (is_grid(tower) & (share_B[:, None] > 0))
