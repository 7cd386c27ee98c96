"""A small U-Net (Ronneberger et al. 2015) over 16 x 16 cells, whatever the picture's side, told time and condition.

A cell is a square of pixels: at 32 px one of 2 x 2. Shapes as in `blocks`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.cnn import waves as places
from stages.models.heads.pictures.blocks import SMALL, Attending, Residual, Told

CELLS = 16
WAVES = 32  # of a time, each with sine and cosine
FASTEST = 1000.0


class UNet(nn.Module):
    """Cells at 16 x 16, then at 8 x 8 with attention to the condition, and back."""

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, heads: int) -> None:
        """Build for pictures (H, W, C); `channels` at 16 x 16, twice as many at 8 x 8."""
        super().__init__()
        self.cell_px = max(1, shape[0] // CELLS)
        pixels, deep, width = shape[2] * self.cell_px**2, 2 * channels, 2 * channels
        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(dim, width)
        self.enter = nn.Conv2d(pixels, channels, 3, padding=1)
        self.place_CHW = nn.Parameter(places(CELLS, CELLS, channels).T.unflatten(1, (CELLS, CELLS)).contiguous())
        self.down = Residual(channels, channels, width)
        self.halve = nn.Conv2d(channels, deep, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Residual(deep, deep, width) for _ in range(3))
        self.attend = nn.ModuleList(Attending(deep, dim, heads, CELLS // 2) for _ in range(2))
        self.grow = nn.Conv2d(deep, channels, 3, padding=1)
        self.up = nn.ModuleList([Residual(2 * channels, channels, width), Residual(channels, channels, width)])
        self.told, self.leave = Told(channels, width), nn.Conv2d(channels, pixels, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=SMALL)
        self.to(memory_format=torch.channels_last)

    def forward(self, x_BCHW: Tensor, time_B: Tensor, places_BLD: Tensor) -> Tensor:
        """Return the same shape as the pictures."""
        told_BG = F.silu(self.time(waves(time_B)) + self.pooled(places_BLD.mean(1)))
        x = F.pixel_unshuffle(x_BCHW, self.cell_px).contiguous(memory_format=torch.channels_last)
        wide = self.down(self.enter(x) + self.place_CHW, told_BG)
        x = self.halve(wide)
        for i, block in enumerate(self.middle):
            x = block(x, told_BG)
            x = self.attend[i](x, places_BLD) if i < len(self.attend) else x
        x = self.grow(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = torch.cat([x, wide], dim=1)
        for block in self.up:
            x = block(x, told_BG)
        return F.pixel_shuffle(self.leave(F.silu(self.told(x, told_BG))), self.cell_px)


def waves(time_B: Tensor) -> Tensor:
    """Return sines and cosines of times in 0..1, (B, 2 * WAVES)."""
    rates = torch.logspace(0, math.log10(FASTEST), WAVES, device=time_B.device)
    angles = time_B[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
