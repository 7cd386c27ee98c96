"""A small convolutional network for images, trained from scratch on `pixels`.

Shapes: B batch, H and W pixels, L = cells of the final grid, rows first, D = dim.
"""

import math

import torch
from torch import Tensor, nn

GRID_CELLS = 8  # a side of the final grid, about


class CNN(nn.Module):
    """Halves the image until about 8 x 8 cells are left; each cell gets a learned place."""

    def __init__(self, feature_shape: tuple[int, ...], dim: int) -> None:
        """Build for uint8 images (H, W, 3)."""
        super().__init__()
        height, width, channels = feature_shape
        halvings = max(1, round(math.log2(min(height, width) / GRID_CELLS)))
        widths = [max(16, dim // 2 ** (halvings - 1 - i)) for i in range(halvings)]
        layers: list[nn.Module] = []
        for i, out in enumerate(widths):
            layers += [_block(channels, out, stride=2), *([_Residual(out)] if i else [])]
            channels = out
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.project = nn.Linear(channels, dim)
        cells = math.prod(-(-side // 2**halvings) for side in (height, width))
        self.place_LD = nn.Parameter(torch.randn(cells, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 (B, H, W, 3) into a grid (B, L, D)."""
        x_BCHW = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        x_BLC = self.layers(x_BCHW).permute(0, 2, 3, 1).flatten(1, 2)
        return self.norm(self.project(x_BLC) + self.place_LD)

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)


def _block(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = _block(channels, channels, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
