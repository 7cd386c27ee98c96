"""Fusions by name: `Fusion(modalities, dim, out, dropout)` turns what the encoders say into one vector (B, out).

Protocol: see `base.Fusion`. Every fusion takes any modalities and does without those that a sample lacks.
A new fusion: its file here with one class, its line in this dict; tests/models/test_fusions.py runs it.
"""

from stages.models.fusions.attention import Attention
from stages.models.fusions.base import Fusion
from stages.models.fusions.concat import Concat
from stages.models.fusions.conv import Conv
from stages.models.fusions.graph import Graph
from stages.models.fusions.late import Late
from stages.models.fusions.low_rank_tensor import LowRankTensor
from stages.models.fusions.product import Product
from stages.models.fusions.weighted_sum import WeightedSum

FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "product": Product,
    "weighted_sum": WeightedSum,
    "conv": Conv,
    "attention": Attention,
    "graph": Graph,
    "low_rank_tensor": LowRankTensor,
    "late": Late,
}
