"""Trained encoders by modality and name: `Encoder(spec, size)` turns features (B, *shape) into (B, L, dim).

Protocol: see `base.Encoder`. Questions and messages are texts too and use those of `text`.
A new encoder: its file here (or its class in a modality's file), its line in this dict; tests/models/test_encoders.py
runs it.
"""

from stages.models.encoders import fields, video
from stages.models.encoders.audio import SpectrogramCNN, SpectrogramCNNGRU, SpectrogramGRU
from stages.models.encoders.backbone import Backbone
from stages.models.encoders.base import Encoder
from stages.models.encoders.cnn import CNN
from stages.models.encoders.projection import Projection
from stages.models.encoders.text import GRU, LSTM, Bag, Transformer
from stages.models.encoders.vit import ViT

ENCODERS: dict[str, dict[str, type[Encoder]]] = {
    "image": {
        "cnn": CNN,
        "projection": Projection,
        "vit": ViT,
        "torchvision": Backbone,
    },
    "text": {
        "bag": Bag,
        "gru": GRU,
        "lstm": LSTM,
        "transformer": Transformer,
        "projection": Projection,
    },
    "audio": {
        "cnn": SpectrogramCNN,
        "gru": SpectrogramGRU,
        "cnn_gru": SpectrogramCNNGRU,
        "projection": Projection,
    },
    "video": {
        "mean": video.Mean,
        "gru": video.GRU,
        "transformer": video.Transformer,
        "conv": video.Conv,
    },
    "fields": {
        "transformer": fields.Transformer,
        "mlp": fields.MLP,
    },
}
