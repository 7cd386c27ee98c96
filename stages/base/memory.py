"""How a process holds memory that it frees."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # options of mallopt, as malloc.h numbers them
MOST = 2**30  # bytes


def keep_memory() -> None:
    """Let freed memory stay with this process for the next batch of the same size, where the C library is glibc.

    Else each large tensor is given back, and costs a page fault for every 4 kB when it is made anew: a third of the
    time of a backbone's batches on a virtual machine. For a stage that ends, not for a server. Call it before threads
    start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((TRIM_THRESHOLD, MOST), (MMAP_THRESHOLD, MOST), (ARENA_MAX, 1)):
            mallopt(option, value)
