"""Frozen feature extractors by name; each is made from its section of `features` and follows `base.Extractor`."""

from stages.extractors.base import Extractor
from stages.extractors.huggingface import HuggingFace
from stages.extractors.log_mel import LogMel
from stages.extractors.pixels import Pixels
from stages.extractors.tokens import Tokens
from stages.extractors.torchvision import Torchvision

EXTRACTORS: dict[str, type[Extractor]] = {
    "pixels": Pixels,
    "torchvision": Torchvision,
    "tokens": Tokens,
    "log_mel": LogMel,
    "huggingface": HuggingFace,
}
