"""Features of a frozen Hugging Face model: a vector for each cell, moment or word piece, or one for the whole.

Beside the features stands a reference to the model, which is kept once (`pretrained.bases`).
"""

import json
from pathlib import Path
from typing import Any, Self

from stages.base.device import Device
from stages.extractors.base import Extractor
from stages.extractors.huggingface.audio import AudioModel
from stages.extractors.huggingface.base import FrozenModel
from stages.extractors.huggingface.image import ImageModel
from stages.extractors.huggingface.text import TextModel

BY_MODALITY: dict[str, type[FrozenModel]] = {kind.modality: kind for kind in (TextModel, ImageModel, AudioModel)}
BY_MODALITY["video"] = ImageModel  # of its frames, see `clips`


class HuggingFace(Extractor):
    """Chooses the one of a modality."""

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make the extractor of `params.modality`; see `FrozenModel`."""
        return BY_MODALITY[params.modality].from_params(params, device, key, prepared)  # type: ignore[return-value]

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read the extractor of the modality that a folder is for."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return BY_MODALITY[settings["modality"]].load(folder, device)  # type: ignore[return-value]
