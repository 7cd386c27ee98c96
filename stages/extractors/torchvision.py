"""Features of a frozen torchvision classification backbone: its last spatial grid, or the pooled vector.

Batch norms are folded into convolutions and images run channels-last: on a CPU that halves the time.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save
from torch import nn
from torch.fx.experimental.optimization import fuse

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import digest, write_json
from stages.extractors.torch_extractor import TorchExtractor, fewer_cells
from stages.media.images import to_rgb
from stages.pretrained.torchvision import MEAN, STD, backbone_names, models, read_weights

VERSION = 3  # since torch resizes
WEIGHTS_FILE = "extractor.safetensors"


class Torchvision(TorchExtractor):
    """`grid`: float16 (cells, channels), rows first; `pooled`: float16 (channels,), the classifier's input."""

    dtype = "float16"

    def __init__(self, settings: dict[str, Any], state: dict[str, torch.Tensor], device: Device) -> None:
        """Build the backbone from its settings (backbone, layer, size_px) and state dict."""
        super().__init__(device)
        self.settings, self.state, self._device = settings, state, device
        self.size_px: int = settings["size_px"]
        trunk, self.shape = build_trunk(settings, state)
        self.pool: int = settings.get("pool", 1)  # of frames of a video
        if self.pool > 1:
            self.shape = tuple(fewer_cells(torch.zeros(1, *self.shape), self.pool).shape[1:])
        plain = torch.fx.GraphModule(trunk, trunk.graph).eval()  # without its second graph for training
        self.model = fuse(plain).to(memory_format=torch.channels_last).to(device.device)
        self._row_mean = torch.tensor(MEAN, device=device.device).mul(255).repeat(self.size_px)  # of all its pixels
        self._row_std = torch.tensor(STD, device=device.device).mul(255).repeat(self.size_px)

    @classmethod
    def from_params(cls, params: Any, device: Device | None, key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml, reading the weights by path or torchvision's own name.

        Raises:
            InputError: when backbone or weights are unknown, missing, or not those of `weights_sha256`.
        """
        names = backbone_names()
        if params.backbone not in names:
            raise InputError(f"{key}.backbone: {params.backbone!r} is unknown; expected one of {', '.join(names)}")
        state = read_weights(params, key)
        settings = {
            "extractor": "torchvision",
            "version": VERSION,
            "backbone": params.backbone,
            "layer": params.layer,
            "size_px": params.size_px,
            "weights_digest": _state_digest(state),
        }
        settings |= {"pool": params.pool} if getattr(params, "pool", 1) > 1 else {}
        assert device, "it works on one"
        try:
            return cls(settings, state, device)
        except ValueError as error:
            raise InputError(f"{key}.pool: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what decides the output, the number format of the device included."""
        return self.settings | {"precision": str(self._device.dtype).removeprefix("torch.")}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode and resize."""
        return self.of_picture(to_rgb(media, self.size_px))

    def of_picture(self, picture: Image.Image) -> np.ndarray:
        """Resize the whole picture to a square: as Pillow does but for single levels, in a third of its time."""
        pixels_HWC = torch.from_numpy(np.array(picture))
        size = (self.size_px, self.size_px)
        square = F.interpolate(pixels_HWC.permute(2, 0, 1)[None], size=size, mode="bilinear", antialias=True)[0]
        return square.permute(1, 2, 0).numpy()

    @torch.inference_mode()
    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Run the backbone on uint8 (B, H, W, 3)."""
        images_BHWC = torch.from_numpy(decoded).to(self._device.device, non_blocking=True)
        rows = (
            images_BHWC.flatten(0, 1).flatten(1).float()
        )  # by rows, as a loop over three channels takes six times as long
        normalised = rows.sub_(self._row_mean).div_(self._row_std).view(images_BHWC.shape)
        x = normalised.permute(0, 3, 1, 2)  # is channels-last
        with torch.autocast(self._device.device.type, self._device.dtype, enabled=self._device.dtype != torch.float32):
            out = self.model(x)["out"]
        if out.ndim == 4:
            out = out.permute(0, 2, 3, 1).flatten(1, 2)
        if self.pool > 1:
            out = fewer_cells(out, self.pool)
        return out.reshape(len(decoded), *self.shape).to(torch.float16).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write settings and weights."""
        write_json(folder / "extractor.json", self.settings)
        (folder / WEIGHTS_FILE).write_bytes(save(self.state))  # readable as the umask says, unlike `save_file`

    @classmethod
    def load(cls, folder: Path, device: Device) -> Self:
        """Read settings and weights."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls(settings, load_file(folder / WEIGHTS_FILE), device)


def build_trunk(
    settings: dict[str, Any], state: dict[str, torch.Tensor]
) -> tuple[torch.fx.GraphModule, tuple[int, ...]]:
    """Return the backbone up to the layer that is read (its output under "out"), and one sample's feature shape."""
    from torchvision.models.feature_extraction import create_feature_extractor

    model = models().get_model(settings["backbone"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"weights do not fit backbone {settings['backbone']}: {error}") from None
    model.eval()
    node, shape = _find_layer(model, settings["layer"], settings["size_px"])
    return create_feature_extractor(model, {node: "out"}).eval(), shape


def _state_digest(state: dict[str, torch.Tensor]) -> str:
    return digest({name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in state.items()})


@torch.inference_mode()
def _find_layer(model: nn.Module, layer: str, size_px: int) -> tuple[str, tuple[int, ...]]:
    """Run one blank image and return the node to read, with one sample's feature shape.

    `grid` is the last module whose output still has both spatial axes (for vision transformers, the encoder's
    tokens); `pooled` is what the last linear layer reads.
    """
    outputs: list[tuple[str, torch.Size]] = []
    last_input: dict[str, torch.Size] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                outputs.append((name, output.shape))
                if isinstance(module, nn.Linear) and inputs[0].ndim == 2:
                    last_input["shape"] = inputs[0].shape

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    model(torch.zeros(1, 3, size_px, size_px))
    for handle in handles:
        handle.remove()
    if layer == "grid" and isinstance(model, models().VisionTransformer):
        name, tokens = [(n, s) for n, s in outputs if len(s) == 3][-1]
        return name, tuple(tokens[1:])
    if layer == "grid":
        name, (_, channels, height, width) = [
            (n, s) for n, s in outputs if len(s) == 4 and min(s[2:]) > 1 and "classifier" not in n
        ][-1]
        return name, (height * width, channels)
    size = last_input["shape"][1]
    return [n for n, s in outputs if s.numel() == size][-1], (size,)
