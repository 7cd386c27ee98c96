"""Encoders over the frames of a video: pixels, or features of each frame; a frame of nothing but zeros is none.

Each frame becomes a vector first: pixels by a small network, cells by what is worth looking at; then comes time.
Shapes: B batch, T frames, L cells of a frame, H and W pixels, C channels of features, N real frames of a batch, D dim.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.cnn import CNN
from stages.models.encoders.masked_attention import Block
from stages.models.encoders.recurrent import bidirectional


class Video(Encoder):
    """What encoders of videos share: a vector for each frame, and which frames are real."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for uint8 (T, H, W, 3), or features (T, L, C) or (T, C)."""
        super().__init__(spec, size)
        channels = spec.shape[-1]
        if len(spec.shape) == 4:
            self.pixels = CNN(FeatureSpec(spec.shape[1:]), size)
        else:
            self.scale, self.project = nn.LayerNorm(channels), nn.Linear(channels, size.dim)
        if len(spec.shape) > 2:
            self.look = nn.Linear(size.dim, 1, bias=False)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)

    def frames(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (B, T, D), zeros where no frame is, and which are real (B, T).

        Only real frames are read, so that batch norms count no others.
        """
        real_BT = is_frame(features)
        read_BT = real_BT if real_BT.any() else torch.ones_like(real_BT)  # of a batch in which all lack the video
        x = features[read_BT]
        x = self.pixels(x) if len(self.spec.shape) == 4 else F.gelu(self.project(self.dropout(self.scale(x.float()))))
        x_ND = x if x.ndim == 2 else (self.look(x).softmax(1) * x).sum(1)
        x_BTD = x_ND.new_zeros(*real_BT.shape, self.size.dim)
        x_BTD[read_BT] = x_ND
        return x_BTD, real_BT

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return which frames are real."""
        return is_frame(features)

    def mirror(self, features: Tensor) -> Tensor:
        """Swap left and right: of pixels, or of cells that are a square."""
        if features.ndim == 5:
            return features.flip(3)
        side = math.isqrt(features.shape[2])
        if features.ndim == 3 or side**2 != features.shape[2]:
            return features
        return features.unflatten(2, (side, side)).flip(3).flatten(2, 3)


class Mean(Video):
    """The mean of all frames, which sees no order: what an encoder over time has to beat; one place."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Video`."""
        super().__init__(spec, size)
        self.out = nn.Linear(size.dim, size.dim)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, ...) into (B, 1, D)."""
        x_BTD, real_BT = self.frames(features)
        mean_B1D = x_BTD.sum(1, keepdim=True) / real_BT.sum(1).clamp(min=1).view(-1, 1, 1)
        return self.norm(self.out(self.dropout(mean_B1D)))

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return for the one place whether there is any frame."""
        return is_frame(features).any(1, keepdim=True)


class GRU(Video):
    """A bidirectional GRU over the real frames (Cho et al. 2014), half of the dim for each direction."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Video`."""
        super().__init__(spec, size)
        self.recurrent = bidirectional(nn.GRU, size)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, ...) into (B, T, D)."""
        x_BTD, real_BT = self.frames(features)
        order_BT = (~real_BT).to(torch.uint8).argsort(dim=1, stable=True)  # real ones first, whichever are
        first_BTD = self.dropout(x_BTD.gather(1, _wide(order_BT, x_BTD)))
        packed = pack_padded_sequence(first_BTD, real_BT.sum(1).clamp(min=1).cpu(), True, enforce_sorted=False)
        out_BTD, _ = pad_packed_sequence(self.recurrent(packed)[0], True, total_length=x_BTD.shape[1])
        return self.norm(self.dropout(out_BTD.gather(1, _wide(order_BT.argsort(1), out_BTD))))


class Transformer(Video):
    """Frames with learned places in time attend to each other (Vaswani et al. 2017), norms first."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Video`."""
        super().__init__(spec, size)
        self.place_TD = nn.Parameter(torch.randn(spec.shape[0], size.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(size.dim, size.attention_heads, size.dropout) for _ in range(size.layers))

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, ...) into (B, T, D)."""
        x_BTD, real_BT = self.frames(features)
        x_BTD = self.dropout(x_BTD + self.place_TD)
        for block in self.blocks:
            x_BTD = block(x_BTD, real_BT)
        return self.norm(x_BTD)


class Conv(Video):
    """Convolutions over three frames in time, each beside what it reads; a layer sees two frames further."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build as `Video`."""
        super().__init__(spec, size)
        dim, layers = size.dim, range(size.layers)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.layers = nn.ModuleList(nn.Conv1d(dim, dim, 3, padding=1) for _ in layers)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, ...) into (B, T, D)."""
        x_BTD, real_BT = self.frames(features)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            near_BTD = norm(x_BTD) * real_BT.unsqueeze(-1)
            x_BTD = x_BTD + self.dropout(F.gelu(layer(near_BTD.transpose(1, 2)).transpose(1, 2)))
        return self.norm(x_BTD)


def is_frame(features: Tensor) -> Tensor:
    """Return where any number of a frame is not zero, (B, T)."""
    return (features != 0).flatten(2).any(-1)


def _wide(order_BT: Tensor, x_BTD: Tensor) -> Tensor:
    return order_BT.unsqueeze(-1).expand_as(x_BTD)
