"""Parts of networks over pictures: residual blocks that are told the condition, and attention to its places.

Shapes: B pictures, C channels, H and W cells, L places of the condition, D its width, G width of what is told to all
cells alike.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.cnn import waves
from stages.models.encoders.masked_attention import MaskedAttention

NARROWEST = 8  # channels; widths are multiples of it
PER_GROUP = 16  # channels of a norm, if that divides them: as many as a CPU takes at once (4 are 20 times slower)
SMALL = 0.02  # of weights that change little at first


class Told(nn.Module):
    """A group norm whose scale and shift come from the condition (AdaGN, Dhariwal and Nichol 2021, section 3.1)."""

    def __init__(self, channels: int, width: int) -> None:
        """Build; at first the condition changes little."""
        super().__init__()
        self.norm = nn.GroupNorm(channels // math.gcd(channels, PER_GROUP), channels, affine=False)
        self.affine = nn.Linear(width, 2 * channels)
        nn.init.normal_(self.affine.weight, std=SMALL)

    def forward(self, x_BCHW: Tensor, told_BG: Tensor) -> Tensor:
        """Return the same shape."""
        scale_BC11, shift_BC11 = self.affine(told_BG)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x_BCHW) * (1 + scale_BC11) + shift_BC11


class Residual(nn.Module):
    """Two convolutions beside a way round them, each behind a norm that is told the condition."""

    def __init__(self, channels: int, out: int, width: int) -> None:
        """Build."""
        super().__init__()
        self.told = nn.ModuleList([Told(channels, width), Told(out, width)])
        self.convolutions = nn.ModuleList([_convolution(channels, out), _convolution(out, out)])
        self.round = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x_BCHW: Tensor, told_BG: Tensor) -> Tensor:
        """Return (B, out, H, W)."""
        y = x_BCHW
        for told, convolution in zip(self.told, self.convolutions, strict=True):
            y = convolution(F.silu(told(y, told_BG)))
        return self.round(x_BCHW) + y


class Attending(nn.Module):
    """Cells attend to each other, then to the condition, so that a word finds where it belongs; then pass a network.

    Each cell knows where it lies: without that no word could mean left or above.
    """

    def __init__(self, channels: int, dim: int, heads: int, side: int) -> None:
        """Build for side x side cells."""
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.cells, self.words = MaskedAttention(channels, heads), MaskedAttention(channels, heads)
        self.project = nn.Linear(dim, channels)
        self.place_LC = nn.Parameter(waves(side, side, channels))
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x_BCHW: Tensor, places_BLD: Tensor) -> Tensor:
        """Return the same shape."""
        x = x_BCHW.flatten(2).transpose(1, 2) + self.place_LC
        normed = self.norms[0](x)
        x = x + self.cells(normed, normed)
        x = x + self.words(self.norms[1](x), self.project(places_BLD))
        x = x + self.feed_forward(self.norms[2](x))
        return x.transpose(1, 2).unflatten(2, x_BCHW.shape[2:])


def _convolution(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)
