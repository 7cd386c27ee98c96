"""A torchvision classification backbone over `pixels`: frozen, with LoRA, or fine-tuned in its last layers or whole.

All of it is saved with a model, what is frozen too: weights by torchvision's name come without files of their own.

Shapes: B batch, H and W pixels, C channels of the last grid, L = its cells, rows first, D = dim.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.models.adapters import LORA, with_lora
from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.params import BackboneParams
from stages.pretrained.torchvision import MEAN, STD, backbone_names, models

USUAL = BackboneParams(
    name="torchvision", backbone="mobilenet_v2", weights="", weights_sha256="", batch_norms="trained"
)
USUAL_SIZE_PX = 224  # the size that shows where a backbone's grid ends; at any size the same part is used


class Backbone(Encoder):
    """The backbone up to its last grid; each cell is projected and gets a learned place."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize, params: BackboneParams = USUAL) -> None:
        """Build for uint8 images (H, W, 3), with random weights.

        With `batch_norms` frozen they keep the statistics of the weights in training too, which small batches want,
        and weights whose batch norms are folded away need; those of layers that do not learn keep them anyway.

        Raises:
            InputError: when torchvision has no such backbone, it is no chain of grids, the images are too small, or it
                has none of the layers that are to learn.
        """
        super().__init__(spec, size)
        self.params, self.backbone = params, params.backbone
        self.trunk = _build_trunk(self.backbone).to(memory_format=torch.channels_last)
        channels, cells = self._grid(spec)
        self._choose()
        self.scale, self.project = nn.LayerNorm(channels), nn.Linear(channels, size.dim)
        self.place_LD = nn.Parameter(torch.randn(cells, size.dim) * 0.02)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)
        self.train()  # a trainer may leave modes as they are built

    @torch.no_grad()
    def _grid(self, spec: FeatureSpec) -> tuple[int, int]:
        """Return channels and cells of the grid of one image."""
        self.trunk.eval()
        try:
            _, channels, height, width = self.trunk(_normalise(torch.zeros(1, *spec.shape, dtype=torch.uint8))).shape
        except RuntimeError as error:
            size = f"{spec.shape[0]} x {spec.shape[1]} px"
            raise InputError(f"images of {size} are too small for backbone {self.backbone}: {error}") from None
        self.trunk.train()
        return channels, height * width

    def _choose(self) -> None:
        """Let learn what is asked for."""
        self.trunk.requires_grad_(self.params.train == "all")
        if self.params.train == "lora":
            # a convolution of groups, such as one channel each, has no thin part
            linear = (nn.Linear, nn.Conv2d)
            parts = [(name, part) for name, part in self.trunk.named_modules() if isinstance(part, linear)]
            with_lora(self.trunk, self.params.lora, [name for name, part in parts if getattr(part, "groups", 1) == 1])
        elif self.params.train == "last_layers":
            layers, count = list(_layers(self.trunk)), self.params.last_layers
            if count > len(layers):
                raise InputError(f"{self.backbone} has {len(layers)} layers, fewer than last_layers: {count}")
            for layer in layers[len(layers) - count :]:
                layer.requires_grad_(True)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        x_BLC = self.trunk(_normalise(images)).permute(0, 2, 3, 1).flatten(1, 2)
        return self.norm(self.project(self.dropout(self.scale(x_BLC))) + self.place_LD)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        self.trunk.train(mode and self.params.train != "frozen")
        for module in self.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(module.training and self.params.batch_norms != "frozen" and module.weight.requires_grad)
        return self

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)

    def pretrained_weights(self) -> list[Tensor]:
        """Return the weights that learn and did not begin at random."""
        return [w for name, w in self.trunk.named_parameters() if w.requires_grad and LORA not in name]

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Load a state dict of the whole backbone; its classifier is left out.

        Raises:
            InputError: when the state dict belongs to another backbone.
        """
        wanted = {name.replace(".base_layer.", "."): name for name in self.trunk.state_dict() if LORA not in name}
        missing = sorted(wanted.keys() - state.keys())
        if missing:
            raise InputError(
                f"weights do not fit backbone {self.backbone}: {len(missing)} of {len(wanted)} tensors are missing, "
                f"the first is {missing[0]}"
            )
        try:
            self.trunk.load_state_dict({own: state[name] for name, own in wanted.items()}, strict=False)
        except RuntimeError as error:
            raise InputError(f"weights do not fit backbone {self.backbone}: {error}") from None


def _layers(part: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts of a chain that have weights, chains of chains taken apart."""
    for child in part.children():
        if type(child) is nn.Sequential:
            yield from _layers(child)
        elif next(child.parameters(), None) is not None:
            yield child


def _normalise(images: Tensor) -> Tensor:
    """Turn uint8 (B, H, W, 3) into what torchvision's weights expect, (B, 3, H, W), channels-last in memory."""
    mean, std = (images.new_tensor(v, dtype=torch.float32).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))
    return (images.permute(0, 3, 1, 2).float() - mean) / std


@torch.no_grad()
def _build_trunk(backbone: str) -> nn.Sequential:
    """Return the top-level parts of a backbone up to the last that puts out a grid.

    They are plain modules, not a traced graph, so that batch norms and dropouts know training from evaluation.
    """
    names = backbone_names()
    if backbone not in names:
        raise InputError(f"encoder backbone {backbone!r} is unknown; expected one of {', '.join(names)}")
    model = models().get_model(backbone, weights=None).eval()
    if isinstance(model, models().VisionTransformer | models().MaxVit):
        raise InputError(f"encoder backbone {backbone!r} is no chain of grids; use encoder vit, or a convolutional one")
    outputs: list[tuple[str, Tensor]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: outputs.append((name, output.clone()))

    handles = [part.register_forward_hook(note(name)) for name, part in model.named_children()]
    image = torch.linspace(-2, 2, 3 * USUAL_SIZE_PX**2).view(1, 3, USUAL_SIZE_PX, USUAL_SIZE_PX)
    model(image)
    for handle in handles:
        handle.remove()
    grids = [output.ndim == 4 and min(output.shape[2:]) > 1 and name != "avgpool" for name, output in outputs]
    last = max(i for i, is_grid in enumerate(grids) if is_grid)
    trunk = nn.Sequential(OrderedDict((name, model.get_submodule(name)) for name, _ in outputs[: last + 1]))
    if not torch.allclose(trunk(image), outputs[last][1]):
        raise InputError(f"encoder backbone {backbone!r} does more than run its parts in order; use another one")
    return trunk.train()
