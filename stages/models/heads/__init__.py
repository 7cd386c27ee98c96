"""Caption decoders by name: `Decoder(vocabulary_size, dim, layers, attention_heads, dropout, max_words)`.

Protocol: see `base.CaptionDecoder`. A new decoder: its file here with one class, its line in this dict.
"""

from stages.models.heads.base import CaptionDecoder
from stages.models.heads.gru import GRUDecoder
from stages.models.heads.transformer import TransformerDecoder

HEADS: dict[str, type[CaptionDecoder]] = {
    "gru": GRUDecoder,
    "transformer": TransformerDecoder,
}
