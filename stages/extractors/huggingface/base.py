"""What the extractors of all modalities share. Shapes: B batch, L places, H hidden."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import write_json
from stages.extractors.torch_extractor import TorchExtractor
from stages.pretrained import bases, sharing
from stages.pretrained import huggingface as pretrained
from stages.pretrained.bases import Base

VERSION = 2  # since the name of a folder is no part of what decides the output
LAST = -1  # of the layers, with the norm that stands behind it


class FrozenModel(TorchExtractor):
    """`token`: float16 (places, hidden), zeros where nothing is; `pooled`: float16 (hidden,).

    A contrastive model's pooled vector is the one that it compares with those of other modalities.
    """

    dtype = "float16"
    modality: ClassVar[str]
    own: ClassVar[tuple[str, ...]]
    """Names of the settings that the modality has beside level and layer."""

    def __init__(self, settings: dict[str, Any], base: Base, device: Device) -> None:
        """Read the model of a base; `settings` are level, layer and `own`, and what else is recorded.

        Raises:
            InputError: when the model cannot be read, or does not do what the settings ask.
        """
        super().__init__(device)
        self.settings, self._base, self._device = settings, base, device
        is_pooled = settings["level"] == "pooled"
        part = f"{self.modality}, pooled" if is_pooled else self.modality
        model = sharing.read(base.folder, part, self._read, device.device)
        is_whole = is_pooled and pretrained.is_contrastive(model, self.modality)
        self._whole = model if is_whole else None
        self.tower = pretrained.tower(model, self.modality) if is_whole else model
        self.space = settings["files_digest"] if is_whole else ""
        self.prepare(base.folder)
        self.shape = self._try()

    def _read(self, folder: Path) -> Any:
        """Return the model where all of it is compared, else its tower: what encodes other modalities is let go."""
        model = pretrained.read_model(folder)
        is_whole = self.settings["level"] == "pooled" and pretrained.is_contrastive(model, self.modality)
        return model if is_whole else pretrained.tower(model, self.modality)

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml; `model` is a folder, or a name that is fetched once.

        Raises:
            InputError: when transformers is not installed, or the model cannot be had or is not for the modality.
        """
        assert device, "it works on one"
        try:
            base = bases.find(params)
            assert base.reference, "a model that was found is described"
            settings = {
                "extractor": "huggingface",
                "version": VERSION,
                "modality": cls.modality,
                "model": base.reference.model,
                "revision": base.reference.revision,
                "files_digest": base.reference.digest,
                **{name: getattr(params, name) for name in ("level", "layer", *cls.own)},
            }
            found = cls(settings, base, device)
            bases.keep(base)
            return found
        except InputError as error:
            raise InputError(f"{key}.model: {params.model}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what decides the output, the number format of the device included; not where the model came from."""
        decides = {name: value for name, value in self.settings.items() if name not in ("model", "revision")}
        return decides | {"precision": str(self._device.dtype).removeprefix("torch.")}

    def prepare(self, folder: Path) -> None:
        """Read what turns media into the model's input."""
        raise NotImplementedError

    def blank(self) -> np.ndarray:
        """Return a decoded medium to try the model on."""
        raise NotImplementedError

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], Any]:
        """Return what the model is called with, and what `places` needs beside."""
        raise NotImplementedError

    def places(self, x_BLH: Tensor, beside: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places, which of them are real, and a vector of the whole, before any pooling of `level`."""
        raise NotImplementedError

    @torch.inference_mode()
    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Run the model on a stack of decoded media."""
        given, beside = self.inputs(decoded)
        given = {name: value.to(self._device.device) for name, value in given.items()}
        with torch.autocast(self._device.device.type, self._device.dtype, enabled=self._device.dtype != torch.float32):
            out = self._compared(given) if self._whole else self.hidden(given)
        if not self._whole:
            x_BLH, real_BL, whole_BH = self.places(out.float(), beside)
            out = whole_BH if self.settings["level"] == "pooled" else x_BLH.masked_fill(~real_BL.unsqueeze(-1), 0)
        return out.to(torch.float16).cpu().numpy()

    def _compared(self, given: dict[str, Tensor]) -> Tensor:
        return getattr(self._whole, f"get_{self.modality}_features")(**given).pooler_output.float()

    def hidden(self, given: dict[str, Tensor]) -> Tensor:
        """Return the output of a layer as (B, L, H), rows of a grid one after the other."""
        layer = self.settings["layer"]
        out = self.tower(**given, output_hidden_states=layer != LAST)
        x = out.last_hidden_state if layer == LAST else out.hidden_states[layer]
        return x.permute(0, 2, 3, 1).flatten(1, 2) if x.ndim == 4 else x

    def save(self, folder: Path) -> None:
        """Write settings, and the reference to the model."""
        write_json(folder / "extractor.json", self.settings)
        assert self._base.reference, "a model that was found is described"
        bases.write_reference(folder, self._base.reference)

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read settings, and the model that lies beside them or that is referred to."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls(settings, bases.locate(folder), device)

    def _try(self) -> tuple[int, ...]:
        """Return the shape of the features, found by running the model once."""
        try:
            return self.extract(self.blank()[None]).shape[1:]
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, KeyError) as error:
            raise InputError(f"does not take {self._what()}: {error or type(error).__name__}") from None

    def _what(self) -> str:
        asked = ", ".join(f"{name} {self.settings[name]}" for name in ("level", "layer", *self.own))
        return f"{'an' if self.modality[0] in 'ai' else 'a'} {self.modality} alone, with {asked}"


def mean_of_real(x_BLH: Tensor, real_BL: Tensor) -> Tensor:
    """Return the mean over the places that are real, (B, H)."""
    real_BL1 = real_BL.unsqueeze(-1)
    return x_BLH.masked_fill(~real_BL1, 0).sum(1) / real_BL1.sum(1).clamp(min=1)
