"""Trained encoders by name: `Encoder(feature_shape, dim)` turns features (B, *shape) into a grid (B, L, dim).

Protocol: see `base.Encoder`.
A new encoder: its file here with one class, its line in this dict.
"""

from stages.encoders.base import Encoder
from stages.encoders.cnn import CNN
from stages.encoders.projection import Projection

ENCODERS: dict[str, type[Encoder]] = {
    "cnn": CNN,
    "projection": Projection,
}
