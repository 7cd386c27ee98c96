"""A small convolutional network for images, trained from scratch on `pixels`.

Shapes: B batch, H and W pixels, L = cells of the final grid, rows first, D = dim.
"""

import math

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec

GRID_CELLS = 8  # a side of the final grid, about


class CNN(Encoder):
    """Halves the image until about 8 x 8 cells are left; each cell gets a learned place.

    Every cell also gets the maximum over all cells, what is anywhere in the image: without it little is learnt
    before attention has learnt where to look. It drops nothing: its batch norms regularise.
    """

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for uint8 images (H, W, 3)."""
        super().__init__(spec, size)
        (height, width, channels), dim = spec.shape, size.dim
        halvings = max(1, round(math.log2(min(height, width) / GRID_CELLS)))
        layers: list[nn.Module] = []
        for halving in range(halvings, 0, -1):
            out = max(16, dim // 2**halving)
            layers += [*convolution(channels, out), nn.MaxPool2d(2)]
            channels = out
        self.layers = nn.Sequential(*layers, *convolution(channels, dim)).to(memory_format=torch.channels_last)
        cells = (height // 2**halvings) * (width // 2**halvings)
        self.place_LD = nn.Parameter(torch.randn(cells, dim) * 0.02)
        self.project, self.project_whole = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        x_BLD = self.layers(scale_pixels(images)).permute(0, 2, 3, 1).flatten(1, 2)
        whole_B1D = self.project_whole(x_BLD.amax(1, keepdim=True))
        return self.norm(self.project(x_BLD) + self.place_LD + whole_B1D)

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)


def scale_pixels(images: Tensor) -> Tensor:
    """Turn uint8 (B, H, W, 3) into float (B, 3, H, W) in -1..1, channels-last in memory."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def convolution(channels: int, out: int) -> tuple[nn.Module, ...]:
    """Return a 3 x 3 convolution with its norm and nonlinearity."""
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
