"""The embedded data source: small rendered scenes with captions, made from the seed, with no download.

`world` holds what is true of a scene; each other module makes one modality of it and adds one column here.
Scene i depends on (seed, i) alone: asking for more samples leaves those before as they were.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import InputError
from stages.sources.base import RawSample, RemoteFile, Source
from stages.sources.scenes import captions, draw, world

FILE = "scenes.parquet"
ROWS_PER_GROUP = 250
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("split", pa.string()),
        ("image", pa.binary()),  # PNG
        ("texts", pa.list_(pa.string())),
        ("oracle", pa.string()),
        ("truth", pa.string()),  # JSON
    ]
)
COMPRESSION = {
    "sample_id": "zstd",
    "split": "zstd",
    "image": "none",
    "texts.list.element": "zstd",
    "oracle": "zstd",
    "truth": "zstd",
}


class ScenesParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def samples(self) -> int:
        """How many scenes."""

    @property
    def image_size_px(self) -> int:
        """The side of the square picture."""

    @property
    def max_objects(self) -> int:
        """The most objects in a scene."""

    @property
    def captions_per_image(self) -> int:
        """How many captions are written for a scene."""

    @property
    def noise(self) -> float:
        """The standard deviation of the pixel noise, of full range 1."""


class Scenes(Source):
    """Generated scenes, see the module."""

    def __init__(self, params: ScenesParams) -> None:
        """Keep the params.

        Raises:
            InputError: a scene cannot hold `max_objects`.
        """
        if not 1 <= params.max_objects <= world.MAX_OBJECTS:
            raise InputError(
                f"max_objects of the source scenes is {params.max_objects}: "
                f"allowed are 1 to {world.MAX_OBJECTS}, more have no room in the frame"
            )
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name no file: everything is generated."""
        return ()

    def generate(self, folder: Path, seed: int) -> None:
        """Write all scenes into one Parquet file, a row group at a time in memory."""
        starts = range(0, self.params.samples, ROWS_PER_GROUP)
        with pq.ParquetWriter(
            folder / FILE, SCHEMA, compression=COMPRESSION, use_dictionary=["split"], write_statistics=False
        ) as writer:
            for start in starts:
                stop = min(start + ROWS_PER_GROUP, self.params.samples)
                rows = [self._row(seed, index) for index in range(start, stop)]
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))

    def read(self, folder: Path) -> Iterator[RawSample]:
        """Yield the scenes in order, a row group at a time in memory."""
        with pq.ParquetFile(folder / FILE) as file:
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    yield RawSample(**row | {"texts": tuple(row["texts"]), "truth": json.loads(row["truth"])})

    def _row(self, seed: int, index: int) -> dict[str, Any]:
        """Make one scene in all its modalities."""
        params = self.params
        scene = world.sample(seed, index, params.max_objects)
        drawing = world.stream(seed, index, world.Stream.DRAWING)
        writing = world.stream(seed, index, world.Stream.CAPTIONS)
        return {
            "sample_id": f"scene-{index:08d}",
            "split": {8: "val", 9: "test"}.get(index % 10, "train"),
            "image": draw.render(scene, drawing, params.image_size_px, params.noise),
            "texts": captions.captions(scene, writing, params.captions_per_image),
            "oracle": captions.canonical(scene),
            "truth": json.dumps(world.truth(scene), sort_keys=True),
        }
