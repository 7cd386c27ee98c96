"""Convolution fusion: modalities as channels (Feichtenhofer et al. 2016, "Convolutional two-stream network fusion").

There (section 3.1) the maps of two networks are stacked along channels and convolved; here pooled vectors are,
along their features. Shapes: B batch, M modalities, D dim, O out.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from stages.models.encoders.base import Encoded
from stages.models.fusions.base import Fusion, Pools

CHANNELS, WIDTH = 32, 5


class Conv(Fusion):
    """Two convolutions along the features, each followed by halving them; a missing modality is a channel of zeros."""

    def __init__(self, modalities: Sequence[str], dim: int, out: int, dropout: float) -> None:
        """Make pools, convolutions and the last layer."""
        super().__init__(modalities, dim, out, dropout)
        self.pools = Pools(modalities, dim, dropout)
        layers: list[nn.Module] = []
        for channels in (len(modalities), CHANNELS):
            layers += [nn.Conv1d(channels, CHANNELS, WIDTH, padding=WIDTH // 2), nn.GELU(), nn.MaxPool1d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(CHANNELS * (dim // 4), out))

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, O)."""
        x_BMD, _ = self.pools(encoded)
        return self.layers(x_BMD)
