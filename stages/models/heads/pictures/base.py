"""What a head that makes pictures does, in training and in drawing.

Shapes: B pictures, C channels, H and W pixels, L places of the condition (such as words), D dim. Pictures are floats
in -1..1. The condition has no mask: a place that is not there is a learned vector, so a condition of such places
alone is "no condition".
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from stages.base.errors import InputError

LEAST_SIDE = 16


class PictureHead(nn.Module):
    """The protocol of a head that makes pictures."""

    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)  # of AdamW
    guided: ClassVar[bool] = False  # whether it can weigh what is asked against what is not

    def __init__(self, shape: tuple[int, ...], dim: int, channels: int, attention_heads: int) -> None:
        """Build for pictures (H, W, C) under a condition of width `dim`.

        Raises:
            InputError: when it cannot make pictures of this shape.
        """
        super().__init__()
        height, width, _ = shape
        if height != width or height < LEAST_SIDE or height & (height - 1):
            raise InputError(
                f"pictures of {height} x {width} pixels cannot be made; set size_px of the target's features to a "
                f"power of 2, {LEAST_SIDE} at least"
            )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Return the shape of the noise that one picture is made from."""
        raise NotImplementedError

    def loss(self, pictures_BCHW: Tensor, places_BLD: Tensor, train: Any = None) -> Tensor:
        """Return the mean loss; in training (`train`) it draws what it needs at random, else always the same."""
        raise NotImplementedError

    def draw(self, noise: Tensor, places_BLD: Tensor, nothing_BLD: Tensor, evaluate: Any) -> Tensor:
        """Make pictures (B, C, H, W) from noise (B, *noise_shape); `nothing_BLD` is no condition."""
        raise NotImplementedError
