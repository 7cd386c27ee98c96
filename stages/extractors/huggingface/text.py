"""Texts through a frozen Hugging Face model. Shapes: B batch, L word pieces, H hidden."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.extractors.base import read_text
from stages.extractors.huggingface.base import FrozenModel, mean_of_real
from stages.pretrained.inputs import PADDING, TextInput, text_given


class TextModel(FrozenModel):
    """Word pieces of a text; `pooled` is their mean where the model is not contrastive."""

    modality = "text"
    own = ("max_words",)

    def prepare(self, folder: Path) -> None:
        """Read the tokenizer."""
        self._input = TextInput(folder, self.settings["max_words"])
        self._input.check(self.tower)

    def decode(self, media: bytes) -> np.ndarray:
        """Turn UTF-8 text into the numbers of its word pieces, int64 (max_words,), `PADDING` behind them."""
        return self._input.ids(read_text(media))

    def blank(self) -> np.ndarray:
        """Return the longest text."""
        return np.zeros(self._input.max_words, np.int64)

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Return ids and mask; what is real besides."""
        ids_BL = torch.from_numpy(decoded)
        return text_given(self.tower, ids_BL, self._input.pad), ids_BL != PADDING

    def places(self, x_BLH: Tensor, beside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the word pieces, and their mean."""
        real_BL = beside.to(x_BLH.device)
        return x_BLH, real_BL, mean_of_real(x_BLH, real_BL)
