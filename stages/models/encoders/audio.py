"""Encoders of log-mel spectrograms; a recording is brought to mean 0 and deviation 1 whatever its loudness and length.

In training a recording is shifted in time and loses a band and a moment (SpecAugment, Park et al. 2019), drawn from
torch's global generator. Shapes: B batch, T frames, F mel bands, L places, D dim.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.models.encoders.cnn import convolution
from stages.models.encoders.recurrent import bidirectional

MAX_SHIFT, MAX_TIME_MASK, MAX_BAND_MASK = 1 / 10, 1 / 8, 1 / 6  # of all frames, frames and bands


class Spectrogram(Encoder):
    """What encoders of spectrograms share: normalising, and augmenting while training."""

    max_shift = MAX_SHIFT

    def keep_time(self) -> None:
        """Let training shift no recording."""
        self.max_shift = 0.0

    def prepare(self, features: Tensor) -> Tensor:
        """Return (B, T, F), normalised per recording; augmented in training."""
        x_BTF = normalise(features.float())
        return augment(x_BTF, self.max_shift) if self.training else x_BTF


class SpectrogramCNN(Spectrogram):
    """Four convolutions with batch norm that halve both axes three times, then the mean of all bands.

    As in Kong et al. 2020 (PANNs), smaller. It drops channels once, at the end: its batch norms regularise.
    """

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for float16 (T, F)."""
        super().__init__(spec, size)
        widths = [1, max(16, size.dim // 4), max(16, size.dim // 2), size.dim]
        halvings: list[nn.Module] = []
        for channels, out in zip(widths[:-1], widths[1:], strict=True):
            halvings += [*convolution(channels, out), nn.MaxPool2d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*halvings, *convolution(size.dim, size.dim))
        self.project, self.norm = nn.Linear(size.dim, size.dim), nn.LayerNorm(size.dim)
        self.place_LD = nn.Parameter(torch.randn(-(-spec.shape[0] // 8), size.dim) * 0.02)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, F) into (B, L, D), a place for eight frames."""
        x_BDTF = self.layers(self.prepare(features).unsqueeze(1))
        x_BLD = x_BDTF.mean(-1).transpose(1, 2)
        return self.norm(self.project(self.dropout(x_BLD)) + self.place_LD)


class SpectrogramGRU(Spectrogram):
    """Frames, averaged by two and projected, through a bidirectional GRU."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for float16 (T, F)."""
        super().__init__(spec, size)
        self.project = nn.Linear(spec.shape[1], size.dim)
        self.recurrent = bidirectional(nn.GRU, size)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, F) into (B, L, D), a place for two frames."""
        pairs_BLF = F.avg_pool1d(self.prepare(features).transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
        x_BLD, _ = self.recurrent(self.dropout(F.gelu(self.project(pairs_BLF))))
        return self.norm(self.dropout(x_BLD))


class SpectrogramCNNGRU(Spectrogram):
    """Two convolutions that halve the bands, the second also the frames, then a bidirectional GRU.

    After Amodei et al. 2016 (Deep Speech 2), smaller: it hears what a sound is made of at each moment, and in what
    order they come.
    """

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for float16 (T, F)."""
        super().__init__(spec, size)
        channels = max(16, size.dim // 8)
        self.layers = nn.Sequential(
            *convolution(1, channels),
            nn.MaxPool2d((1, 2), ceil_mode=True),
            *convolution(channels, channels),
            nn.MaxPool2d(2, ceil_mode=True),
        )
        self.project = nn.Linear(channels * -(-spec.shape[1] // 4), size.dim)
        self.recurrent = bidirectional(nn.GRU, size)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T, F) into (B, L, D), a place for two frames."""
        x_BCLF = self.layers(self.prepare(features).unsqueeze(1))
        x_BLD = F.gelu(self.project(x_BCLF.transpose(1, 2).flatten(2)))
        x_BLD, _ = self.recurrent(self.dropout(x_BLD))
        return self.norm(self.dropout(x_BLD))


def normalise(x_BTF: Tensor) -> Tensor:
    """Bring what sounds to mean 0 and deviation 1; put 0 in silent frames, which have one value in all bands.

    With the padding counted, the step down to it was most of the deviation: of noise and a word in it little was left.
    """
    sounds_BT1 = x_BTF.amax(2, keepdim=True) > x_BTF.amin(2, keepdim=True)
    size_B11 = sounds_BT1.sum(1, keepdim=True).clamp(min=1) * x_BTF.shape[2]
    centred_BTF = (x_BTF - (x_BTF * sounds_BT1).sum((1, 2), keepdim=True) / size_B11) * sounds_BT1
    return centred_BTF / ((centred_BTF.square().sum((1, 2), keepdim=True) / size_B11).sqrt() + 1e-5)


def augment(x_BTF: Tensor, max_shift: float = MAX_SHIFT) -> Tensor:
    """Shift each recording, by up to a tenth, then put its mean, 0, in up to an eighth of frames, a sixth of bands."""
    batch, frames, bands = x_BTF.shape
    shift_B1 = ((torch.rand(batch, 1, device=x_BTF.device) * 2 - 1) * max_shift * frames).long()
    source_BT = (torch.arange(frames, device=x_BTF.device) - shift_B1).clamp(0, frames - 1)  # edges are repeated
    x_BTF = x_BTF.gather(1, source_BT.unsqueeze(-1).expand_as(x_BTF))
    x_BTF = x_BTF.masked_fill(_span(batch, frames, MAX_TIME_MASK, x_BTF.device).unsqueeze(2), 0.0)
    return x_BTF.masked_fill(_span(batch, bands, MAX_BAND_MASK, x_BTF.device).unsqueeze(1), 0.0)


def _span(batch: int, length: int, max_fraction: float, device: torch.device) -> Tensor:
    """Draw for each sample a span of 0 up to `max_fraction` of the places, (B, length)."""
    width_B1, start_B1 = torch.rand(2, batch, 1, device=device).unbind()
    width_B1 = (width_B1 * (int(max_fraction * length) + 1)).floor()
    start_B1 = (start_B1 * (length - width_B1 + 1)).floor()
    places_L = torch.arange(length, device=device)
    return (places_L >= start_B1) & (places_L < start_B1 + width_B1)
