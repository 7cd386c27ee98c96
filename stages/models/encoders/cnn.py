"""A small convolutional network for images, trained from scratch on `pixels`.

Shapes: B batch, H and W pixels, L = cells of the final grid, rows first, D = dim.
"""

import math

import torch
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec

GRID_CELLS = 8  # a side of the final grid, about
LONGEST_WAVE = 4.0  # of the places' sines, in sides of the grid


class CNN(Encoder):
    """Halves the image until about 8 x 8 cells are left, and tells each cell where it is and what is elsewhere.

    Both join the cell before a nonlinearity, so that "a red ring, top left" and "another object further right" are
    features of a cell and need not be found by attention, which is still blind when training starts. It drops
    nothing: its batch norms regularise.
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
        self.place_LD = nn.Parameter(waves(height // 2**halvings, width // 2**halvings, dim))
        self.project, self.norm_placed = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.own, self.anywhere = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.joined, self.norm = nn.Linear(dim, dim), nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        x_BLD = self.layers(scale_pixels(images)).permute(0, 2, 3, 1).flatten(1, 2)
        placed_BLD = torch.relu(self.norm_placed(self.project(x_BLD) + self.place_LD))
        anywhere_B1D = self.anywhere(placed_BLD.amax(1, keepdim=True))
        joined_BLD = self.joined(torch.relu(self.own(placed_BLD) + anywhere_B1D))
        return self.norm(x_BLD + joined_BLD + self.place_LD)

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)


def waves(rows: int, columns: int, dim: int) -> Tensor:
    """Return sines and cosines of each cell's place, (rows * columns, dim), half of the features along each side.

    Near places are alike, so that what is learnt of one holds for its neighbours (Vaswani et al. 2017, in 2D).
    """
    half = [_waves(length, dim // 2) for length in (rows, columns)]
    grid = torch.cat([half[0][:, None].expand(-1, columns, -1), half[1][None].expand(rows, -1, -1)], dim=-1)
    return nn.functional.pad(grid.flatten(0, 1), (0, dim - grid.shape[-1]))


def _waves(length: int, features: int) -> Tensor:
    """Return sines and cosines along one side, (length, features), from several sides long to two cells."""
    at = torch.arange(length)[:, None] + 0.5
    count = -(-features // 2)
    waves_px = torch.logspace(math.log10(LONGEST_WAVE * length), math.log10(2.0), count)
    angles = 2 * math.pi * at / waves_px
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :features]


def scale_pixels(images: Tensor) -> Tensor:
    """Turn uint8 (B, H, W, 3) into float (B, 3, H, W) in -1..1, channels-last in memory."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def convolution(channels: int, out: int) -> tuple[nn.Module, ...]:
    """Return a 3 x 3 convolution with its norm and nonlinearity."""
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
