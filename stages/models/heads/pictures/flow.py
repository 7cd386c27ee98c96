"""Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023): from noise at time 0 to a picture at time 1.

The network learns the velocity, picture less noise, at a point between the two. What lies where, and of which shape, is
decided early: on a small picture an object of some pixels shows through the noise at time 0.05 to 0.3. So learning
dwells there, at times that are logit-normal (Esser et al. 2024), and drawing takes small steps there. Errors count once
as they are and once by how they differ from cell to cell, as else the loss is one of large areas and says little of
edges; the velocity that is best on average is the same.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from stages.models.heads.pictures.base import PictureHead
from stages.models.heads.pictures.unet import UNet

TIME_MEAN, TIME_SPREAD = -1.5, 1.5  # of the logit of training times
CELLS = 16  # of a side, that errors are compared between


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
        """Return the square error of velocities, as is and across cells, at times more often early; see the module."""
        size, device = len(pictures_BCHW), pictures_BCHW.device
        if train is not None:
            normal_B, noise = torch.randn(size, device=device), torch.randn_like(pictures_BCHW)
        else:
            normal_B = torch.special.ndtri((torch.arange(size, device=device) + 0.5) / size)
            noise = torch.randn(pictures_BCHW.shape, generator=torch.Generator().manual_seed(0)).to(pictures_BCHW)
        time_B = (TIME_MEAN + TIME_SPREAD * normal_B).sigmoid()
        share = time_B.view(-1, 1, 1, 1)
        between = (1 - share) * noise + share * pictures_BCHW
        return _square(self.network(between, time_B, places_BLD).float() - (pictures_BCHW - noise))

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


def _square(error_BCHW: Tensor) -> Tensor:
    """Return half the mean squares of errors, and of their differences across and down between cells of 16 x 16."""
    apart = max(1, error_BCHW.shape[-1] // CELLS)
    across = error_BCHW[..., apart:] - error_BCHW[..., :-apart]
    down = error_BCHW[:, :, apart:] - error_BCHW[:, :, :-apart]
    return (error_BCHW.square().mean() + across.square().mean() + down.square().mean()) / 2
