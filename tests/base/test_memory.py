"""Memory that a stage frees and needs again costs no page faults."""

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
import numpy as np
from stages.base.memory import keep_memory

if sys.argv[1] == "kept":
    keep_memory()

def work():
    for _ in range(20):
        np.ones(3_000_000)  # 24 MB, 5860 pages

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept: str) -> int:
    environment = {"MALLOC_MMAP_THRESHOLD_": "4194304"}  # as it is at first for large blocks: no size is learnt
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kept], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_freed_memory_is_kept_for_the_next_batch_in_any_thread():
    assert faults("kept") < 1000 < 10_000 < faults("given back")
