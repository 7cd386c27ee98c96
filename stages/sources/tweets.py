"""Tweets with a picture and a sentiment (MVSA, Niu et al. 2016, as a list of numbers and tags beside the files).

Texts are UTF-8, or GB18030 where a maker of the archive saved them anew; which those are is said. Splits are by the
picture, so that a tweet and its retweets stay together.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stages.base.errors import InputError
from stages.base.store import say
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, RawSample
from stages.sources.by_picture import ByPicture

FILE = "tweets-sentiment.zip"
LIST = "label/train.txt"
COLUMNS = ["guid", "tag"]
TAGS = ("positive", "neutral", "negative")
ENCODINGS = ("utf8", "gb18030")


class Tweets(ByPicture):
    """One sample is one tweet."""

    file = FILE
    fields = ("image", "message", "label")
    required = ("image", "message", "label")

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the tweets of the list in order of their numbers; say how the texts were encoded."""
        encodings: Counter[str] = Counter()
        with open_archive(folder / FILE) as archive:
            members = set(archive.names())
            for row, guid, tag in sorted(_rows(archive), key=lambda entry: (len(entry[1]), entry[1])):
                if tag not in TAGS:
                    yield Fault(f"{FILE}: {LIST}: row {row}", f"tag {tag!r}; expected one of {', '.join(TAGS)}")
                    continue
                yield self._sample(archive, members, guid, tag, encodings)
        if encodings["gb18030"]:
            say(f"{FILE}: {encodings['gb18030']} of {encodings.total()} texts are not UTF-8 and were read as GB18030")

    def _sample(self, archive: Archive, members: set[str], guid: str, tag: str, encodings: Counter[str]) -> RawSample:
        names = {kind: f"data/{guid}.{kind}" for kind in ("jpg", "txt")}
        if absent := [name for name in names.values() if name not in members]:
            return RawSample(guid, "train", label=tag, fault=f"{' and '.join(absent)} not in the archive")
        image = archive.read(names["jpg"])
        text, encoding = _decoded(archive.read(names["txt"]))
        encodings[encoding] += 1
        return RawSample(
            guid,
            self.split_of(image),
            image=image,
            message=text.strip() or None,
            label=tag,
            fault=None if encoding else f"{names['txt']} is neither UTF-8 nor GB18030",
        )


def _rows(archive: Archive) -> Iterator[tuple[int, str, str]]:
    """Yield (row, guid, tag) of the list; its first row names the columns."""
    if LIST not in archive.names():
        raise InputError(f"{archive.path}: no {LIST} in it")
    reader = csv.reader(io.StringIO(archive.read(LIST).decode("utf8")))
    if next(reader, None) != COLUMNS:
        raise InputError(f"{archive.path}: {LIST} does not begin with {','.join(COLUMNS)}")
    for row, cells in enumerate(reader, start=2):
        if cells:
            guid, tag = (*cells, "", "")[:2]
            yield row, PurePosixPath(guid).name, tag.strip()


def _decoded(data: bytes) -> tuple[str, str]:
    """Return a text and the encoding that it was in; both empty where it is in none."""
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return "", ""
