"""How the items that a `recommend` version advises look: made small at registration, read in service.

Whatever media the data set has of an item, for people to look at, whether the model reads them or not: a picture of at
most `SIDE_PX`, of a video the one in its middle, the beginning of a sound, and of a text. Items behind `MOST_BYTES` in
all have a text alone. The file is mapped, so that it takes no memory of the server until it is asked for.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from stages.base.store import SPLITS, artifact_path, say
from stages.media.images import to_rgb
from stages.media.video import facts, pictures
from stages.models.catalogue import Rows

SIDE_PX, KEPT_BYTES = 240, 2**14  # a picture of no more is kept as it is
MOST_SECONDS, MOST_CHARS = 10, 300
MOST_BYTES = 2**28
SHOWN = ("image", "audio")  # what of an item is asked for by itself
SCHEMA = pa.schema(dict.fromkeys(("sample_id", "text"), pa.string()) | dict.fromkeys(SHOWN, pa.binary()))
COLUMNS = ("sample_id", "image", "audio", "video", "texts")  # of the prepared samples


def write_posters(dataset: str, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write how all items of a prepared data set look."""
    room, bare = most_bytes, 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for rows in _prepared(dataset):
            made = []
            for row in rows:
                shown = {"sample_id": row["sample_id"], "text": _first_words(next(iter(row.get("texts") or ()), ""))}
                media = {"image": _picture(row), "audio": _beginning(row.get("audio"))} if room > 0 else {}
                bare += room <= 0
                room -= sum(len(data) for data in media.values() if data)
                made.append(shown | media)
            writer.write_batch(pa.RecordBatch.from_pylist(made, schema=SCHEMA))
    if bare:
        say(f"{dataset}: {bare} items have no picture or sound on the page, as those before take {most_bytes >> 20} MB")


def _prepared(dataset: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the samples of all splits, some at a time."""
    for split in SPLITS:
        for path in sorted(artifact_path("prepare", dataset).glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path)
            there = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(64, columns=there):
                yield batch.to_pylist()


def _first_words(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS].rstrip()}…"


def _picture(row: dict[str, Any]) -> bytes | None:
    """Return a small picture of a sample, of its image or else of its video, if it has one."""
    if data := row.get("image"):
        image = to_rgb(data, SIDE_PX)
        return data if len(data) <= KEPT_BYTES and max(image.size) <= SIDE_PX else _small(image)
    if data := row.get("video"):
        *_, (_, image) = pictures(data, 2 / max(facts(data).seconds, 1e-3), 2)
        return _small(image)
    return None


def _small(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def _beginning(data: bytes | None) -> bytes | None:
    """Return the first seconds of a clean sound, all of one that is no longer."""
    if data is None:
        return None
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if file.frames <= MOST_SECONDS * file.samplerate:
            return data
        samples, out = file.read(MOST_SECONDS * file.samplerate, dtype="int16"), io.BytesIO()
        soundfile.write(out, samples, file.samplerate, format="FLAC", subtype="PCM_16")
        return out.getvalue()


class Posters:
    """How items look, by their ids."""

    def __init__(self, path: Path) -> None:
        """Map the file."""
        self._rows = Rows(path)

    def of(self, item: str) -> tuple[list[str], str]:
        """Return which media there are of an item, and its text, empty where it has none."""
        found = self._found(item)
        return [name for name in SHOWN if found.get(name)], found.get("text") or ""

    def medium(self, item: str, modality: str) -> bytes | None:
        """Return the bytes of an item's picture or sound; None when there is none."""
        return self._found(item).get(modality) if modality in SHOWN else None

    def _found(self, item: str) -> dict[str, Any]:
        number = self._rows.find("sample_id", item)
        return self._rows[number] if number >= 0 else {}
