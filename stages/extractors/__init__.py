"""Frozen feature extractors by name; each is made from its section of `features` and follows `base.Extractor`.

Those that need no torch stand apart: importing it takes longer than their work.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.extractors import clips
from stages.extractors.base import Extractor
from stages.extractors.fields import Fields
from stages.extractors.frames import Frames
from stages.extractors.pixels import Pixels
from stages.extractors.tokens import Tokens
from stages.extractors.utf8 import Utf8

if TYPE_CHECKING:
    from stages.base.device import Device

ON_ARRAYS: dict[str, type[Extractor]] = {
    "fields": Fields,
    "frames": Frames,
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


def make_extractor(params: Any, device: "Device | None", key: str, prepared: Path) -> Extractor:
    """Make the extractor of a section of `features`; see `Extractor.from_params`."""
    made = extractor(params.extractor).from_params(params, device, key, prepared)
    if params.modality != "video" or params.extractor in ON_ARRAYS:
        return made
    return clips.Clips(made, {name: getattr(params, name) for name in clips.SETTINGS})


def load_extractor(folder: Path, device: "Device") -> Extractor:
    """Read the extractor that a folder holds, of whatever kind it is."""
    settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
    found = extractor(settings["extractor"]).load(folder, device)
    return clips.Clips(found, settings["video"]) if "video" in settings else found
