"""Extractors whose work is torch's: on a CPU threads share out the batches, not each batch's work."""

import math
from contextlib import AbstractContextManager

from torch import Tensor

from stages.base.device import Device, one_thread_each
from stages.extractors.base import Extractor


class TorchExtractor(Extractor):
    """One that works on a device, or beside decoding on the CPU."""

    def __init__(self, device: Device | None = None) -> None:
        """Take the device, None where the work is the CPU's on any machine."""
        self.side_by_side = device is None or not device.is_cuda

    def threads(self) -> AbstractContextManager[int]:
        """Give as many threads as torch may use, each with one core; for a GPU those that decode."""
        return one_thread_each() if self.side_by_side else super().threads()


def fewer_cells(cells_BLH: Tensor, pool: int) -> Tensor:
    """Return `pool` x `pool` cells of a square grid as their mean, rows first.

    Raises:
        ValueError: when that cannot be.
    """
    if cells_BLH.ndim != 3 or (side := math.isqrt(cells_BLH.shape[1])) ** 2 != cells_BLH.shape[1]:
        raise ValueError(f"features of shape {tuple(cells_BLH.shape[1:])}, which are no square of cells")
    if side % pool:
        raise ValueError(f"{side} x {side} cells, which {pool} does not divide")
    return cells_BLH.unflatten(1, (side // pool, pool, side // pool, pool)).mean((2, 4)).flatten(1, 2)
