"""The stages of the pipeline: one module a stage, each run as `python -m stages.<stage> <name>`."""

import os

# torch's threads spin while they wait for each other, for milliseconds: beside other work on the same cores they keep
# from it, and so from themselves, what they wait for. Read when torch is loaded; one's own value stays.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# bfloat16 products on a CPU are compiled and kept for every shape of their operands, 1024 of them in each of two
# caches: texts of ever other lengths filled gigabytes with what is never used again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "96")
os.environ.setdefault("LRU_CACHE_CAPACITY", "96")
