"""Data sources by name; each is made from its section of `datasets` and follows `base.Source`.

A new source: its file here with one class, its line in this dict, its section's class in `stages/params.py`.
"""

from stages.sources.base import Source
from stages.sources.flickr8k import Flickr8k
from stages.sources.scenes import Scenes

SOURCES: dict[str, type[Source]] = {
    "scenes": Scenes,
    "flickr8k": Flickr8k,
}
