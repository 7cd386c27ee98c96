"""Frozen feature extractors by name; each is made from its section of `features` and follows `base.Extractor`.

Those that need no torch stand apart: importing it takes longer than their work.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stages.extractors.base import Extractor
from stages.extractors.pixels import Pixels
from stages.extractors.tokens import Tokens
from stages.extractors.utf8 import Utf8

if TYPE_CHECKING:
    from stages.base.device import Device

ON_ARRAYS: dict[str, type[Extractor]] = {
    "pixels": Pixels,
    "tokens": Tokens,
    "utf8": Utf8,
}


def on_torch() -> dict[str, type[Extractor]]:
    """Return those that work with torch, on a device."""
    from stages.extractors.huggingface import HuggingFace
    from stages.extractors.log_mel import LogMel
    from stages.extractors.model_input import ModelInput
    from stages.extractors.torchvision import Torchvision

    return {
        "torchvision": Torchvision,
        "log_mel": LogMel,
        "huggingface": HuggingFace,
        "model_input": ModelInput,
    }


def extractor(name: str) -> type[Extractor]:
    """Return the extractor of a name that params.yaml allows."""
    return ON_ARRAYS.get(name) or on_torch()[name]


def load_extractor(folder: Path, device: "Device") -> Extractor:
    """Read the extractor that a folder holds, of whatever kind it is."""
    kind = json.loads((folder / "extractor.json").read_text(encoding="utf8"))["extractor"]
    return extractor(kind).load(folder, device)
