"""A small vision transformer (Dosovitskiy et al. 2021), trained from scratch on `pixels`.

Shapes: B batch, H and W pixels, L = patches, rows first, D = dim.
"""

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.cnn import GRID_CELLS, scale_pixels
from stages.models.encoders.masked_attention import Block


class ViT(Encoder):
    """Cuts the image into about 8 x 8 patches, which attend to each other; it has no class token."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for uint8 images (H, W, 3)."""
        super().__init__(spec, size)
        (height, width, channels), dim = spec.shape, size.dim
        patch_px = max(1, min(height, width) // GRID_CELLS)
        self.patches = nn.Conv2d(channels, dim, patch_px, stride=patch_px)
        patches = (height // patch_px) * (width // patch_px)
        self.place_LD = nn.Parameter(torch.randn(patches, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, size.attention_heads, size.dropout) for _ in range(size.layers))
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(size.dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        x_BLD = self.patches(scale_pixels(images)).flatten(2).transpose(1, 2)
        x_BLD = self.dropout(x_BLD + self.place_LD)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return self.norm(x_BLD)

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)
