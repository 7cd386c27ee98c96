"""Extractors whose work is torch's: on a CPU threads share out the batches, not each batch's work."""

from contextlib import AbstractContextManager

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
