"""Trained encoders by name: `Encoder(feature_shape, dim)` turns features (B, *shape) into a grid (B, L, dim).

Protocol: `forward(features) -> grid_BLD`, and `mirror(features)`, the features of the mirrored medium.
A new encoder: its file here with one class, its line in this dict.
"""

from torch import nn

from stages.encoders.cnn import CNN
from stages.encoders.projection import Projection

ENCODERS: dict[str, type[nn.Module]] = {
    "cnn": CNN,
    "projection": Projection,
}
