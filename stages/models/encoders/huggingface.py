"""A Hugging Face image model as an encoder of `pixels`, frozen, with LoRA, or fine-tuned in its last layers or whole.

Shapes: B batch, H and W pixels, L cells, rows first, C hidden of the model, D dim.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.models.adapters import Adapter
from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.params import HuggingFaceEncoderParams
from stages.pretrained import huggingface as pretrained
from stages.pretrained import sharing


class HuggingFaceImage(Encoder):
    """The model's cells, its class token left out; each is projected and gets a learned place."""

    def __init__(
        self,
        spec: FeatureSpec,
        size: EncoderSize,
        folder: Path,
        params: HuggingFaceEncoderParams,
        shared_on: torch.device | None = None,
    ) -> None:
        """Read the model from a folder, for uint8 images (H, W, 3); with `shared_on` what is frozen is shared there.

        Raises:
            InputError: when it cannot be read, or takes no images of this size.
        """
        super().__init__(spec, size)
        shared_on = None if params.train == "all" else shared_on
        tower = sharing.read(folder, "image", _read_tower, shared_on)
        processor = pretrained.read_image_processor(folder)
        self.adapter = Adapter(tower, params.train, params.lora, params.last_layers)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (processor.image_mean, processor.image_std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.mean: Tensor
        self.std: Tensor
        channels, cells = self._grid()
        self.scale, self.project = nn.LayerNorm(channels), nn.Linear(channels, size.dim)
        self.place_LD = nn.Parameter(torch.randn(cells, size.dim) * 0.02)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)

    @torch.no_grad()
    def _grid(self) -> tuple[int, int]:
        try:
            _, cells, channels = self._cells(torch.zeros(1, *self.spec.shape, dtype=torch.uint8)).shape
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"does not take images of {self.spec.shape[0]} x {self.spec.shape[1]} px: {error}"
            ) from None
        return channels, cells

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        return self.norm(self.project(self.dropout(self.scale(self._cells(images)))) + self.place_LD)

    def _cells(self, images: Tensor) -> Tensor:
        """Return the last layer's cells (B, L, C)."""
        x = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return pretrained.image_cells(self.adapter.model(pixel_values=x.to(self.adapter.device)).last_hidden_state)

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)


def _read_tower(folder: Path) -> Any:
    return pretrained.tower(pretrained.read_model(folder), "image")
