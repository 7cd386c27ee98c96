"""Fusions by name: `Fusion(modalities, dim, out, dropout)` turns what the encoders say into one vector (B, out).

Protocol: see `base.Fusion`. Every fusion takes any modalities and does without those that a sample lacks.
A new fusion: its file here with one class, its line in this dict; tests/test_fusions.py runs it.
"""

from stages.fusions.attention import Attention
from stages.fusions.base import Fusion
from stages.fusions.concat import Concat
from stages.fusions.conv import Conv
from stages.fusions.graph import Graph
from stages.fusions.late import Late
from stages.fusions.low_rank_tensor import LowRankTensor
from stages.fusions.product import Product
from stages.fusions.weighted_sum import WeightedSum

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
