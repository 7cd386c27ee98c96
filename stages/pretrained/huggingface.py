"""Hugging Face models of every modality: fetched by name and revision or taken from a folder, checked, and read.

Only weights in safetensors and architectures that transformers itself has are read: no pickle, no code from a
repository. transformers is imported only where a model is asked for.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.base.errors import InputError

INSTALL = "pip install fuseline[huggingface]"
WORD_PIECES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # one of them; the last of SentencePiece
WEIGHTS = ("model.safetensors", "model-*.safetensors")
SHARDS = "model.safetensors.index.json"
TOKENIZER = (*WORD_PIECES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")  # of images or sound, one of them
CARD = "README.md"  # fetched for the licence that it states
FILES = (  # what is fetched, what counts in the digest, and what is kept of a model
    "config.json",
    *WEIGHTS,
    SHARDS,
    *TOKENIZER,
    *PREPROCESSORS,
    "generation_config.json",
    "chat_template.jinja",
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
POOLER = re.compile(r"(^|\.)pooler\.")  # a layer behind what is read here; many checkpoints lack it
_REVISION = re.compile(r"[0-9a-f]{40}")


def import_transformers() -> Any:
    """Return the module; it is optional, and told not to report its use.

    Raises:
        InputError: when it is not installed.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import transformers
    except ImportError:
        raise InputError(f"this needs the package transformers; `{INSTALL}`") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def import_peft() -> Any:
    """Return the module of LoRA, optional too.

    Raises:
        InputError: when it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise InputError(f"LoRA needs the package peft; `{INSTALL}`") from None
    return peft


def fetch(model: str, revision: str) -> Path:
    """Return the local folder of a model: the one given, or the hub's copy, fetched where not yet there.

    Args:
        model: A folder, or a name on the hub.
        revision: For a name, the 40 digits of a commit; empty for a folder.

    Raises:
        InputError: when it cannot be had.
    """
    import_transformers()
    if Path(model).is_dir():
        if revision:
            raise InputError(f"is a folder, which has no revision {revision}; leave `revision` empty")
        return Path(model)
    if not _REVISION.fullmatch(revision):
        raise InputError(
            f"no such folder; and a name on the hub needs `revision`, the 40 digits of a commit (got {revision!r}), "
            "so that it is the same model tomorrow"
        )
    return _from_hub(model, revision)


def _from_hub(model: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        found = snapshot_download(model, revision=revision, allow_patterns=[*FILES, CARD], ignore_patterns=["*/*"])
    except HFValidationError:
        raise InputError("no such folder, and no name of a model either") from None
    except OSError as error:
        raise InputError(
            f"no such folder, and revision {revision[:8]} could not be fetched by that name "
            f"({str(error).splitlines()[0]}). Without a network: put its config.json, *.safetensors and the files of "
            f"its tokenizer or preprocessor ({', '.join((*WORD_PIECES[:2], PREPROCESSORS[0]))}) into a folder and "
            "give that"
        ) from None
    return Path(found)


def files(folder: Path) -> list[Path]:
    """Return those files of a model's folder that belong to it."""
    return sorted({path for pattern in FILES for path in folder.glob(pattern)})


def read_model(folder: Path) -> Any:
    """Read a model of whatever kind as float32, in evaluation mode.

    Raises:
        InputError: when files are missing, damaged, unsafe, or do not fit each other.
    """
    return read_weights(import_transformers().AutoModel, folder)


def read_weights(kind: Any, folder: Path, **options: Any) -> Any:
    """Read a model as one of transformers' classes.

    Raises:
        InputError: as `read_model`.
    """
    _check_weights(folder)
    try:
        model, found = kind.from_pretrained(
            folder,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"cannot be read: {_without_advice(error, folder)}") from None
    missing = sorted(name for name in found["missing_keys"] if not POOLER.search(name))
    if missing:
        raise InputError(f"its weights lack {', '.join(missing[:3])} and {len(missing)} in all; they do not fit")
    return model.eval()


def read_tokenizer(folder: Path) -> Any:
    """Read what cuts texts into word pieces.

    Raises:
        InputError: when there is none.
    """
    transformers = import_transformers()
    if not any(path for pattern in WORD_PIECES for path in folder.glob(pattern)):  # else transformers invents some
        raise InputError(f"has no word pieces: no {', '.join(WORD_PIECES)} in {folder}")
    return _read_part(transformers.AutoTokenizer, folder)


def read_image_processor(folder: Path) -> Any:
    """Read what brings images to the size and range that a model expects.

    Raises:
        InputError: when there is none.
    """
    return _read_preprocessor(import_transformers().AutoImageProcessor, folder)


def read_sound_processor(folder: Path) -> Any:
    """Read what brings sounds to the rate, length and form that a model expects.

    Raises:
        InputError: when there is none.
    """
    return _read_preprocessor(import_transformers().AutoFeatureExtractor, folder)


def _read_preprocessor(kind: Any, folder: Path) -> Any:
    if not any((folder / name).is_file() for name in PREPROCESSORS):
        raise InputError(f"has no preprocessor: no {' or '.join(PREPROCESSORS)} in {folder}")
    return _read_part(kind, folder)


def _read_part(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise InputError(f"cannot be read: {_without_advice(error, folder)}") from None


def kind(folder: Path) -> str:
    """Return transformers' name of a model's architecture.

    Raises:
        InputError: when there is no config that names it.
    """
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf8"))["model_type"])
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(f"no config.json in {folder} that names a model_type") from None


def tower(model: Any, modality: str) -> Any:
    """Return the part of a model that encodes `image`, `audio` or `text`; the model itself where that is all it does.

    Raises:
        InputError: when it encodes others, and not this.
    """
    own = {name: getattr(model, f"{part}_model", None) for name, part in TOWERS.items()}
    if modality == "image" and model.config.model_type in VISION_LANGUAGE:
        for name in ("language_model", "text_model"):  # the part that writes
            if hasattr(model, name):
                setattr(model, name, None)
        return model
    if found := own[modality]:
        return found
    if others := [name for name, part in own.items() if part is not None]:
        raise InputError(f"encodes {' and '.join(others)}, not {modality}")
    return model.get_encoder() if model.config.is_encoder_decoder else model


IN_SQUARES = ("qwen2_vl", "qwen2_5_vl")
"""Of these, those whose places of an image have a row and a column each, and of which a picture takes as many as it is
large: theirs are made square, so that each has as many."""

VISION_LANGUAGE = ("llava", "smolvlm", "idefics3", *IN_SQUARES)
"""Kinds of models that see and write, whose images take places like words do."""

TOWERS = {"image": "vision", "audio": "audio", "text": "text"}
"""By modality, what transformers calls a part of a model that has several."""


def image_cells(x: Tensor) -> Tensor:
    """Return the cells (B, L, H) of an image model's output, rows first.

    It is a grid (B, H, rows, columns), or tokens (B, T, H) of a square of cells, before which class and register tokens
    stand.
    """
    if x.ndim == 4:
        return x.permute(0, 2, 3, 1).flatten(1, 2)
    return x[:, x.shape[1] - math.isqrt(x.shape[1]) ** 2 :]


def is_contrastive(model: Any, modality: str) -> bool:
    """Tell whether a model compares this modality with texts in one space (CLIP, SigLIP, CLAP)."""
    compares = hasattr(model, f"get_{modality}_features") and hasattr(model, "get_text_features")
    return compares and getattr(model, f"{TOWERS[modality]}_model", None) is not None


def _check_weights(folder: Path) -> None:
    """Look at the files before transformers does, whose words are about its options."""
    found = sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)})
    if not (folder / "config.json").is_file():
        raise InputError(f"no config.json in {folder}")
    if not found:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        held = f"{', '.join(pickles[:3])} can hold code and is not read; " if pickles else ""
        raise InputError(f"no model.safetensors in {folder}: {held}save the model as safetensors first")
    for problem in _damages(folder, found):
        raise InputError(problem)


def _damages(folder: Path, found: list[Path]) -> Iterator[str]:
    from safetensors import SafetensorError, safe_open

    if (folder / SHARDS).is_file():
        named = set(json.loads((folder / SHARDS).read_text(encoding="utf8")).get("weight_map", {}).values())
        absent = sorted(named - {path.name for path in found})
        if absent:
            yield f"{SHARDS} names {', '.join(absent[:3])}, and {len(absent)} such files are not in {folder}"
    for path in found:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            yield f"{path.name} is cut short or damaged ({error})"


def _without_advice(error: Exception, folder: Path) -> str:
    """Return the first line of transformers' message, which goes on with options that are not open here."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = (lines or [type(error).__name__])[0]
    if "trust_remote_code" in str(error) or "auto_map" in str(error):
        return f"{folder} wants code of its own to be run, which is not done; only what transformers itself has is read"
    return text
