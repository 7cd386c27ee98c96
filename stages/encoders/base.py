"""What a trained encoder does: features of one modality in, a grid of vectors out."""

from torch import Tensor, nn


class Encoder(nn.Module):
    """The protocol of an encoder."""

    def __init__(self, feature_shape: tuple[int, ...], dim: int, dropout: float) -> None:
        """Build for features of this shape; `dropout` is the chance of a zero, for encoders that drop anything."""
        super().__init__()
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (B, *feature_shape) into a grid (B, L, dim)."""
        raise NotImplementedError

    def mirror(self, features: Tensor) -> Tensor:
        """Return the features of the mirrored medium."""
        raise NotImplementedError
