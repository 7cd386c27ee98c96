"""What a trained encoder does: features of one modality in, a sequence of vectors out.

Shapes: B batch, L places of the sequence (grid cells, words, moments), D dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FeatureSpec:
    """One sample's features of a modality: their shape, and for numbered words how many there are (else 0).

    `space` names the space in which a contrastive model compares them with another modality's; empty for others.
    `seconds` is how long a time the first axis spans, 0 where it is no time.
    `cardinalities` has for each field of a table how many numbers of categories there are, 0 for what has none.
    `input_of` names the tokenizer or preprocessor of a model that is to read them; empty for others.
    """

    shape: tuple[int, ...]
    num_words: int = 0
    space: str = ""
    input_of: str = ""
    seconds: float = 0.0
    cardinalities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Take a list, as JSON has it, for a tuple."""
        object.__setattr__(self, "cardinalities", tuple(self.cardinalities))


@dataclass(frozen=True)
class EncoderSize:
    """The sizes that all encoders of an experiment share; an encoder takes of them what it has a use for."""

    dim: int
    layers: int
    attention_heads: int
    dropout: float


@dataclass(frozen=True)
class Encoded:
    """A modality of a batch: its sequence, and which places are real (none where a sample lacks the modality)."""

    x_BLD: Tensor
    real_BL: Tensor  # bool

    @property
    def present_B(self) -> Tensor:
        """Tell which samples have the modality at all."""
        return self.real_BL.any(1)


class Encoder(nn.Module):
    """The protocol of an encoder."""

    def __init__(self, spec: FeatureSpec, size: EncoderSize) -> None:
        """Build for features as `spec` says."""
        super().__init__()
        self.spec, self.size = spec, size

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (B, *spec.shape) into a sequence (B, L, dim)."""
        raise NotImplementedError

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return which of the `length` places of the sequence are real, (B, length); all, unless overridden."""
        return torch.ones(len(features), length, dtype=torch.bool, device=features.device)

    def keep_time(self) -> None:
        """Let training move nothing in time; nothing does unless overridden."""

    def mirror(self, features: Tensor) -> Tensor:
        """Return the features of the mirrored medium; unchanged for media that have no sides."""
        return features
