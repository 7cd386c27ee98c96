"""Caption decoders by name: `Decoder(vocabulary_size, dim, layers, attention_heads, dropout, max_words)`.

Protocol: see `base.CaptionDecoder`. A new decoder: its file here with one class, its line in this dict.
"""

from stages.heads.base import CaptionDecoder
from stages.heads.gru import GRUDecoder
from stages.heads.transformer import TransformerDecoder

HEADS: dict[str, type[CaptionDecoder]] = {
    "gru": GRUDecoder,
    "transformer": TransformerDecoder,
}
