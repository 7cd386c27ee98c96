"""A conditional adversarial network (Reed et al. 2016): a generator, and who tells its pictures from real ones.

Who tells is matching-aware: a real picture beside another sample's text is wrong too. Both learn in one step from one
loss: in the generator's part the other's weights stand still. The squared slope at real pictures is punished, which
makes that converge (R1, Mescheder et al. 2018); some of a batch suffice for it, as its second pass backwards is the
dearest part. Shapes as in `base`; Z width of the noise.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stages.models.encoders.cnn import waves
from stages.models.encoders.masked_attention import MaskedAttention
from stages.models.heads.pictures.base import PictureHead
from stages.models.heads.pictures.blocks import NARROWEST, Attending, Residual, Told

NOISE = 64
SMALLEST = 4  # cells of a side
SLOPE_WEIGHT = 0.1  # of the squared slope, at pictures in -1..1 summed over pixels
SLOPE_SHARE = 4  # one of so many pictures of a batch
LEAK = 0.2


class Gan(PictureHead):
    """Generator and discriminator."""

    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, attention_heads: int) -> None:
        """Build for pictures (H, W, C) under a condition of width `dim`."""
        super().__init__(shape, dim, channels, attention_heads)
        self.generator = Generator(shape, dim, channels, attention_heads)
        self.discriminator = Discriminator(shape, dim, channels, attention_heads)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Return a vector's."""
        return (NOISE,)

    def loss(self, pictures_BCHW: Tensor, places_BLD: Tensor, train: Any = None) -> Tensor:
        """Return the sum of both losses, logistic and non-saturating; what the condition means is learnt by telling."""
        size = len(pictures_BCHW)
        noise = torch.randn(size, NOISE, generator=None if train else torch.Generator().manual_seed(0))
        made = self.generator(noise.to(pictures_BCHW), places_BLD.detach()).float()
        real, fake = self.discriminator.look(torch.cat([pictures_BCHW, made.detach()])).split(size)
        places = torch.cat([places_BLD, places_BLD.roll(1, 0), places_BLD])
        right_B, wrong_B, fake_B = self.discriminator.tell(torch.cat([real, real, fake]), places).split(size)
        telling = F.softplus(-right_B).mean() + 0.5 * (F.softplus(wrong_B).mean() + F.softplus(fake_B).mean())
        still = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        making = F.softplus(-functional_call(self.discriminator, still, (made, places_BLD.detach()))).mean()
        some = -(-size // SLOPE_SHARE)
        slope = self._slope(pictures_BCHW[:some], places_BLD[:some]) if train is not None else 0.0
        return telling + making + SLOPE_WEIGHT * slope

    def _slope(self, pictures_BCHW: Tensor, places_BLD: Tensor) -> Tensor:
        """Return the mean squared slope at real pictures, in float32."""
        with torch.autocast(pictures_BCHW.device.type, enabled=False):
            pictures = pictures_BCHW.detach().float().requires_grad_()
            told_B = self.discriminator(pictures, places_BLD.detach().float())
            (slope,) = torch.autograd.grad(told_B.sum(), pictures, create_graph=True)
        return slope.square().sum((1, 2, 3)).mean()

    def draw(self, noise: Tensor, places_BLD: Tensor, nothing_BLD: Tensor, evaluate: Any) -> Tensor:
        """Make pictures in one pass."""
        return self.generator(noise, places_BLD).float()


class Generator(nn.Module):
    """From a vector to 4 x 4 cells, doubled until the picture is there; cells of 8 x 8 attend to the condition."""

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, heads: int) -> None:
        """Build for pictures (H, W, C)."""
        super().__init__()
        self.deep, width, side = 4 * channels, 2 * channels, SMALLEST
        self.told = nn.Sequential(nn.Linear(NOISE + dim, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(NOISE + dim, self.deep * SMALLEST**2)
        blocks, now = [], self.deep
        while side < shape[0]:
            out = max(now // 2, NARROWEST)
            blocks.append(Residual(now, out, width))
            now, side = out, 2 * side
        self.blocks = nn.ModuleList(blocks)
        self.attend = Attending(self.deep // 2, dim, heads, 2 * SMALLEST)
        self.last, self.leave = Told(now, width), nn.Conv2d(now, shape[2], 3, padding=1)

    def forward(self, noise_BZ: Tensor, places_BLD: Tensor) -> Tensor:
        """Return pictures (B, C, H, W)."""
        given = torch.cat([noise_BZ, places_BLD.mean(1)], dim=-1)
        told_BG = F.silu(self.told(given))
        x = self.enter(given).view(-1, self.deep, SMALLEST, SMALLEST)
        for i, block in enumerate(self.blocks):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest"), told_BG)
            x = self.attend(x, places_BLD) if i == 0 else x
        return torch.tanh(self.leave(F.silu(self.last(x, told_BG))))


class Discriminator(nn.Module):
    """Convolutions without norms down to 8 x 8 cells, which are seen beside the condition; half a generator's width."""

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, heads: int) -> None:
        """Build for pictures (H, W, C)."""
        super().__init__()
        now, side = channels // 2, shape[0]
        self.layers = nn.ModuleList([nn.Conv2d(shape[2], now, 3, padding=1)])
        while side > 2 * SMALLEST:
            out = min(2 * now, 2 * channels)
            self.layers.append(nn.Conv2d(now, out, 4, stride=2, padding=1))
            now, side = out, side // 2
        self.project, self.attention = nn.Linear(dim, now), MaskedAttention(now, heads)
        self.place_LC = nn.Parameter(waves(2 * SMALLEST, 2 * SMALLEST, now))
        self.beside = nn.Conv2d(2 * now, now, 4, stride=2, padding=1)
        self.alone, self.judge = nn.Linear(now, 1), nn.Linear(now, 1)
        for layer in (*self.layers, self.beside):  # torch's own scale is for layers with norms: the signal would fade
            nn.init.kaiming_normal_(layer.weight, a=LEAK)
            nn.init.zeros_(layer.bias)

    def look(self, pictures_BCHW: Tensor) -> Tensor:
        """Return 8 x 8 cells of pictures (B, C, H, W), as (B, K, 8, 8), whatever condition they are held against."""
        x = pictures_BCHW
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK)
        return x

    def tell(self, x_BKHW: Tensor, places_BLD: Tensor) -> Tensor:
        """Return how real cells (B, K, 8, 8) and condition look together, as logits (B,)."""
        cells = x_BKHW.flatten(2).transpose(1, 2) + self.place_LC
        asked = self.attention(cells, self.project(places_BLD)).transpose(1, 2).view_as(x_BKHW)
        both = F.leaky_relu(self.beside(torch.cat([x_BKHW, asked], dim=1)), LEAK)
        return (self.alone(x_BKHW.mean((2, 3))) + self.judge(both.mean((2, 3)))).squeeze(1).float()

    def forward(self, pictures_BCHW: Tensor, places_BLD: Tensor) -> Tensor:
        """Return how real picture and condition look together, as logits (B,)."""
        return self.tell(self.look(pictures_BCHW), places_BLD)
