"""Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023): from noise at time 0 to a picture at time 1.

The network learns the velocity, picture less noise, at a point between the two. What lies where is decided early: on a
small picture an object shows through the noise before time 0.1. So both learning and drawing dwell there: times are
squares, of what is uniform. Shapes as in `base`.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.models.heads.pictures.base import PictureHead
from stages.models.heads.pictures.unet import UNet


class Flow(PictureHead):
    """A U-Net that gives velocities; pictures are drawn by following them in steps (Euler)."""

    guided: ClassVar[bool] = True

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, attention_heads: int) -> None:
        """Build for pictures (H, W, C) under a condition of width `dim`."""
        super().__init__(shape, dim, channels, attention_heads)
        self.network = UNet(shape, dim, channels, attention_heads)
        height, width, depth = shape
        self._noise_shape = (depth, height, width)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Return the shape of a picture."""
        return self._noise_shape

    def loss(self, pictures_BCHW: Tensor, places_BLD: Tensor, train: Any = None) -> Tensor:
        """Return the mean square error of velocities, at times that are more often early, see the module."""
        if train is not None:
            time_B = torch.rand(len(pictures_BCHW), device=pictures_BCHW.device).square()
            noise = torch.randn_like(pictures_BCHW)
        else:
            evenly_B = (torch.arange(len(pictures_BCHW), device=pictures_BCHW.device) + 0.5) / len(pictures_BCHW)
            time_B = evenly_B.square()
            fixed = torch.Generator().manual_seed(0)
            noise = torch.randn(pictures_BCHW.shape, generator=fixed).to(pictures_BCHW)
        share = time_B.view(-1, 1, 1, 1)
        between = (1 - share) * noise + share * pictures_BCHW
        return F.mse_loss(self.network(between, time_B, places_BLD).float(), pictures_BCHW - noise)

    def draw(self, noise: Tensor, places_BLD: Tensor, nothing_BLD: Tensor, evaluate: Any) -> Tensor:
        """Follow the velocities from noise to pictures, led away from what no condition gives (Ho and Salimans 2022).

        Velocity = without + guidance * (with - without); guidance 1 follows the condition as it was learnt.
        """
        x, guidance = noise, evaluate.guidance
        both = places_BLD if guidance == 1 else torch.cat([places_BLD, nothing_BLD])
        for step in range(evaluate.steps):
            now, then = (step / evaluate.steps) ** 2, ((step + 1) / evaluate.steps) ** 2
            time_B = torch.full((len(both),), now, device=x.device)
            found = self.network(x.repeat(len(both) // len(x), 1, 1, 1), time_B, both).float()
            if guidance != 1:
                asked, free = found.chunk(2)
                found = free + guidance * (asked - free)
            x = x + (then - now) * found
        return x.clamp(-1, 1)
