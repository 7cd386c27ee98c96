"""What a frozen feature extractor does: one medium in, one array out, the same for training and serving."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.device import Device


class Extractor:
    """The protocol of a frozen extractor; `shape` and `dtype` are those of one sample's features on disk."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def from_params(cls, params: Any, device: Device, key: str) -> Self:
        """Make it from its section of params.yaml; `key` names the section in errors."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the output bytes: names, sizes, weights' digest, code version."""
        raise NotImplementedError

    def decode(self, media: bytes) -> np.ndarray:
        """Turn encoded media into an array; runs in threads."""
        raise NotImplementedError

    def extract(self, decoded: torch.Tensor) -> np.ndarray:
        """Turn a stack of decoded arrays into features (B, *shape) of `dtype`; runs on the device."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write `extractor.json` and weights, enough for `load`."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read what `save` wrote."""
        raise NotImplementedError
