"""A small U-Net (Ronneberger et al. 2015) told time and condition.

Edges are drawn at up to 32 x 32 cells with few channels; what belongs where is decided at 8 x 8, where the cells attend
to each other and to the condition. A cell of a picture wider than 32 px is a square of pixels. Shapes as in `blocks`.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.cnn import waves as places
from stages.models.heads.pictures.blocks import NARROWEST, SMALL, Attending, Residual, Told

SIDES = (32, 16, 8)  # cells of a side
OUTER, INNER = SIDES[0], SIDES[-1]
DEPTH = 4  # of blocks at the innermost cells
WAVES = 32  # of a time, each with sine and cosine
FASTEST = 1000.0


class UNet(nn.Module):
    """Halved to 8 x 8 cells, each time twice as wide; there attention to the condition; then back, beside what was."""

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, heads: int) -> None:
        """Build for pictures (H, W, C); `channels` at 16 x 16 cells, half at 32 x 32, twice as many at 8 x 8."""
        super().__init__()
        self.cell_px = max(1, shape[0] // OUTER)
        pixels, deep, width = shape[2] * self.cell_px**2, 2 * channels, 2 * channels
        sides = [side for side in SIDES if side <= shape[0]]
        widths = [max(NARROWEST, deep * INNER // side // NARROWEST * NARROWEST) for side in sides]
        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(dim, width)
        self.enter = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.down = nn.ModuleList(Residual(between, between, width) for between in widths[1:-1])
        self.places = nn.ParameterList(
            _places(side, wide) for side, wide in zip(sides[1:-1], widths[1:-1], strict=True)
        )
        self.blocks = nn.ModuleList(Residual(deep, deep, width) for _ in range(DEPTH))
        self.attend = nn.ModuleList(Attending(deep, dim, heads, INNER) for _ in range(DEPTH))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Residual(wide, wide, width) for wide in widths[:-1])
        self.told, self.leave = Told(widths[0], width), nn.Conv2d(widths[0], pixels, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=SMALL)
        self.to(memory_format=torch.channels_last)

    def forward(self, x_BCHW: Tensor, time_B: Tensor, places_BLD: Tensor) -> Tensor:
        """Return the same shape as the pictures."""
        told_BG = F.silu(self.time(waves(time_B)) + self.pooled(places_BLD.mean(1)))
        x = F.pixel_unshuffle(x_BCHW, self.cell_px).contiguous(memory_format=torch.channels_last)
        x, kept = self.enter(x), []
        for level, halve in enumerate(self.halve):
            kept.append(x)
            x = halve(F.silu(x))
            if level < len(self.down):
                x = self.down[level](x + self.places[level], told_BG)
        for block, attend in zip(self.blocks, self.attend, strict=True):
            x = attend(block(x, told_BG), places_BLD)
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            x = up(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + kept.pop(), told_BG)
        return F.pixel_shuffle(self.leave(F.silu(self.told(x, told_BG))), self.cell_px)


def waves(time_B: Tensor) -> Tensor:
    """Return sines and cosines of times in 0..1, (B, 2 * WAVES)."""
    rates = torch.logspace(0, math.log10(FASTEST), WAVES, device=time_B.device)
    angles = time_B[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _places(side: int, channels: int) -> Tensor:
    """Return what tells cells where they lie, (C, H, W)."""
    return places(side, side, channels).T.unflatten(1, (side, side)).contiguous()
