"""Which device, number format and threads the work runs with, and the seeds behind exact reruns."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from stages.base.errors import InputError


@dataclass(frozen=True)
class Device:
    """Where tensors live and the number format of matrix products."""

    device: torch.device
    dtype: torch.dtype

    @property
    def is_cuda(self) -> bool:
        """Tell whether this is a GPU."""
        return self.device.type == "cuda"


def set_up(device: str, precision: str, threads: int, seed: int = 0) -> Device:
    """Choose the device, and make torch deterministic on it.

    Args:
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        precision: Of matrix products: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
        threads: CPU threads of torch.
        seed: Of what is drawn at random.

    Raises:
        InputError: when a GPU is asked for that is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("base.device: cuda, but torch sees no GPU; use auto or cpu")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, without its second of imports
    # Filling memory that nothing reads costs time.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    torch.backends.cudnn.benchmark = False
    use_cuda = device != "cpu" and torch.cuda.is_available()
    own_gpu = int(os.environ.get("LOCAL_RANK", 0))  # each process of a distributed training has one
    chosen = torch.device("cuda", own_gpu) if use_cuda else torch.device("cpu")
    return Device(chosen, _dtype(precision, chosen))


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Let torch use one core in each Python thread begun inside; give how many threads it had, as many as may begin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "bfloat16" if multiplies_bfloat16(device) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether the hardware has bfloat16 products; without them they are many times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
