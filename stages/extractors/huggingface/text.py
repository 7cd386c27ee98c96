"""Texts through a frozen Hugging Face model. Shapes: B batch, L word pieces, H hidden."""

import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.extractors.base import read_text
from stages.extractors.huggingface.base import FrozenModel, mean_of_real
from stages.pretrained import huggingface as pretrained

PADDING = -1  # in decoded ids: the number 0 is a word piece


class TextModel(FrozenModel):
    """Word pieces of a text; `pooled` is their mean where the model is not contrastive."""

    modality = "text"
    own = ("max_words",)

    def prepare(self, folder: Path) -> None:
        """Read the tokenizer."""
        self.max_words: int = self.settings["max_words"]
        self._tokenizer = pretrained.read_tokenizer(folder)
        self._lock = threading.Lock()  # fast tokenizers cannot be used by two threads at once
        known = self.tower.get_input_embeddings().num_embeddings
        if (pieces := self._tokenizer.vocab_size) > known:
            raise InputError(f"its tokenizer has {pieces} word pieces, its weights {known}: files of two models")
        # SigLIP's texts were padded in its training, and what is padding was read (Zhai et al. 2023)
        self._reads_padding = self.kind.startswith("siglip")

    def decode(self, media: bytes) -> np.ndarray:
        """Turn UTF-8 text into the numbers of its word pieces, int64 (max_words,), `PADDING` behind them."""
        text = read_text(media)
        with self._lock:
            ids = self._tokenizer(text, truncation=True, max_length=self.max_words)["input_ids"]
        out = np.full(self.max_words, PADDING, np.int64)
        out[: len(ids)] = ids
        return out

    def blank(self) -> np.ndarray:
        """Return the longest text."""
        return np.zeros(self.max_words, np.int64)

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Return ids and mask; what is real besides."""
        ids_BL = torch.from_numpy(decoded)
        real_BL = ids_BL != PADDING
        if self._reads_padding:
            return {"input_ids": ids_BL.masked_fill(~real_BL, self._tokenizer.pad_token_id)}, real_BL
        return {"input_ids": ids_BL.clamp(min=0), "attention_mask": real_BL.long()}, real_BL

    def places(self, x_BLH: Tensor, beside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the word pieces, and their mean."""
        real_BL = beside.to(x_BLH.device)
        return x_BLH, real_BL, mean_of_real(x_BLH, real_BL)
