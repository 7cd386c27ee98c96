"""The bidirectional recurrent network that encoders of words and of sound share (Schuster and Paliwal 1997)."""

from torch import nn

from stages.models.encoders.base import EncoderSize


def bidirectional(network: type[nn.GRU] | type[nn.LSTM], size: EncoderSize) -> nn.GRU | nn.LSTM:
    """Return `size.layers` layers over (B, L, D), half of the dim for each direction; dropout is between layers."""
    dropout = size.dropout if size.layers > 1 else 0.0
    return network(size.dim, size.dim // 2, size.layers, batch_first=True, dropout=dropout, bidirectional=True)
