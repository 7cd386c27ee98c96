"""Frozen feature extractors by name; each is made from its section of `features` and follows `base.Extractor`."""

import json
from pathlib import Path

from stages.base.device import Device
from stages.extractors.base import Extractor
from stages.extractors.huggingface import HuggingFace
from stages.extractors.log_mel import LogMel
from stages.extractors.pixels import Pixels
from stages.extractors.tokens import Tokens
from stages.extractors.torchvision import Torchvision

EXTRACTORS: dict[str, type[Extractor]] = {
    "pixels": Pixels,
    "torchvision": Torchvision,
    "tokens": Tokens,
    "log_mel": LogMel,
    "huggingface": HuggingFace,
}


def load_extractor(folder: Path, device: Device) -> Extractor:
    """Read the extractor that a folder holds, of whatever kind it is."""
    kind = json.loads((folder / "extractor.json").read_text(encoding="utf8"))["extractor"]
    return EXTRACTORS[kind].load(folder, device)
