"""Twemoji: emoji as pictures with palette and transparency, their names as texts, their category as label.

Both names are texts: the one of Unicode, and the short one that people type. Splits are by the picture.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, RawSample
from stages.sources.by_picture import ByPicture

FILE = "twemoji-64.zip"
LIST = "emoji.json"
FIELDS = ("image", "name", "category")


class Twemoji(ByPicture):
    """One sample is one emoji."""

    file = FILE
    fields = ("image", "texts", "label")
    required = ("image", "texts", "label")

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the emoji in the order of the list."""
        with open_archive(folder / FILE) as archive:
            for row, entry in enumerate(_entries(archive), start=1):
                values = {f: str(entry.get(f) or "").strip() for f in FIELDS} if isinstance(entry, dict) else {}
                if not values or not all(values.values()):
                    expected = ", ".join(FIELDS)
                    yield Fault(f"{FILE}: {LIST}: entry {row}", f"expected {expected}, found {entry!r:.80}")
                    continue
                yield self._sample(archive, values, str(entry.get("short_name") or ""))

    def _sample(self, archive: Archive, values: dict[str, str], short: str) -> RawSample:
        sample_id = Path(values["image"]).stem
        member = f"img/{Path(values['image']).name}"
        names = (values["name"].lower(), short.replace("_", " ").replace("-", " ").strip().lower())
        texts = tuple(dict.fromkeys(filter(None, names)))
        if member not in archive:
            return RawSample(sample_id, "train", texts=texts, fault=f"{member} is not in the archive")
        image = archive.read(member)
        return RawSample(sample_id, self.split_of(image), image=image, texts=texts, label=values["category"])


def _entries(archive: Archive) -> list[Any]:
    if LIST not in archive.names():
        raise InputError(f"{archive.path}: no {LIST} in it")
    try:
        entries = json.loads(archive.read(LIST))
    except ValueError as error:
        raise InputError(f"{FILE}: {LIST} is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise InputError(f"{FILE}: {LIST} holds no list of emoji")
    return entries
