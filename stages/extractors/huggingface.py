"""Features of a frozen Hugging Face text model: a vector for each word piece, or their mean.

The model's files are copied as they are beside the features, so a served model needs no network. Only weights in
safetensors and architectures that transformers itself has are read: no pickle, no code from a repository.
"""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import digest, sha256_file, write_json
from stages.extractors.base import read_text
from stages.extractors.torch_extractor import TorchExtractor

VERSION = 1
INSTALL = "pip install fuseline[huggingface]"
WORD_PIECES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # one of them; the last of SentencePiece
FILES = (  # what is fetched, what counts in the digest, and what travels with a model
    *WORD_PIECES,
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
PADDING = -1  # in decoded ids: the number 0 is a word piece
POOLER = "pooler."  # a layer behind what is read here; many checkpoints lack it


class HuggingFace(TorchExtractor):
    """`token`: float16 (max_words, hidden), zeros behind the text; `pooled`: float16 (hidden,), their mean."""

    dtype = "float16"

    def __init__(self, settings: dict[str, Any], folder: Path, device: Device) -> None:
        """Read model and tokenizer from a folder; `settings` are level and max_words, and what else is recorded."""
        super().__init__(device)
        self.settings, self._folder, self._device = settings, folder, device
        self.max_words: int = settings["max_words"]
        self._tokenizer, model = _read(folder)
        self._lock = threading.Lock()  # fast tokenizers cannot be used by two threads at once
        self._model = model.to(device.device).eval()
        hidden = self._try()
        self.shape = (hidden,) if settings["level"] == "pooled" else (self.max_words, hidden)

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml; `model` is a local folder, or a name that is fetched once.

        Raises:
            InputError: when transformers is not installed, or the model cannot be had or does not read text.
        """
        assert device, "it works on one"
        try:
            folder = _fetch(params.model)
            settings = {
                "extractor": "huggingface",
                "version": VERSION,
                "model": params.model,
                "files_digest": digest({path.name: sha256_file(path) for path in _files(folder)}),
                "level": params.level,
                "max_words": params.max_words,
            }
            return cls(settings, folder, device)
        except InputError as error:
            raise InputError(f"{key}.model: {params.model}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what decides the output, the number format of the device included."""
        return self.settings | {"precision": str(self._device.dtype).removeprefix("torch.")}

    def decode(self, media: bytes) -> np.ndarray:
        """Turn UTF-8 text into the numbers of its word pieces, int64 (max_words,), `PADDING` behind them."""
        text = read_text(media)
        with self._lock:
            ids = self._tokenizer(text, truncation=True, max_length=self.max_words)["input_ids"]
        out = np.full(self.max_words, PADDING, np.int64)
        out[: len(ids)] = ids
        return out

    @torch.inference_mode()
    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Run the model on int64 (B, max_words)."""
        ids_BL = torch.from_numpy(decoded).to(self._device.device)
        real_BL = ids_BL != PADDING
        with torch.autocast(self._device.device.type, self._device.dtype, enabled=self._device.dtype != torch.float32):
            x_BLH = self._model(input_ids=ids_BL.clamp(min=0), attention_mask=real_BL.long()).last_hidden_state
        x_BLH = x_BLH.float().masked_fill(~real_BL.unsqueeze(-1), 0)
        if self.settings["level"] == "pooled":
            x_BLH = x_BLH.sum(1) / real_BL.sum(1, keepdim=True).clamp(min=1)
        return x_BLH.to(torch.float16).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write settings, and copy the model's files."""
        write_json(folder / "extractor.json", self.settings)
        for path in _files(self._folder):
            shutil.copyfile(path, folder / path.name)

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read settings and the model's files."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls(settings, folder, device)

    @torch.inference_mode()
    def _try(self) -> int:
        """Return the size of the model's vectors, found by running it on the longest text."""
        ids_BL = torch.zeros(1, self.max_words, dtype=torch.long, device=self._device.device)
        try:
            out = self._model(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL)).last_hidden_state
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"does not read a text of {self.max_words} word pieces alone: {error}") from None
        return int(out.shape[-1])


def _import_transformers() -> Any:
    """Return the module; it is optional, and told not to report its use."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import transformers
    except ImportError:
        raise InputError(f"this extractor needs the package transformers; `{INSTALL}`") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def _fetch(model: str) -> Path:
    """Return the local folder of a model: the one given, or the hub's copy by name, fetched where not yet there."""
    _import_transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES), ignore_patterns=["*/*"]))
    except HFValidationError:
        raise InputError("no such folder, and no name of a model either") from None
    except OSError as error:
        raise InputError(f"no such folder, and it could not be fetched by that name ({error}); give a folder") from None


def _files(folder: Path) -> list[Path]:
    return sorted({path for pattern in FILES for path in folder.glob(pattern)})


def _read(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and model of a local folder.

    Raises:
        InputError: when files are missing or do not fit each other.
    """
    transformers = _import_transformers()
    if not any(path for pattern in WORD_PIECES for path in folder.glob(pattern)):  # else transformers invents some
        raise InputError(f"has no word pieces: no {', '.join(WORD_PIECES)} in {folder}")
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safely)
        model, found = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **safely
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"cannot be read: {error}") from None
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(POOLER))
    if missing:
        raise InputError(f"its weights lack {', '.join(missing[:3])} and {len(missing)} in all; they do not fit")
    return tokenizer, model
