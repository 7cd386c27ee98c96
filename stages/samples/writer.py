"""Rows to Parquet: a few large files a split, written a row group at a time, so that memory stays flat."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.progress import progress
from stages.base.store import MEDIA, SPLITS

ROW_GROUP_BYTES = 8 * 2**20  # what is in memory at a time
ROW_GROUP_ROWS = 512


def write_splits(
    rows: Iterable[tuple[str, dict[str, Any]]], folder: Path, schema: pa.Schema, shard_bytes: int
) -> dict[str, int]:
    """Write (split, row) pairs to `<split>-00000.parquet` and on; return the rows of each split.

    A split rolls over to a next file when one has reached `shard_bytes`; one without rows has no file.
    """
    writers = {split: SplitWriter(folder, split, schema, shard_bytes) for split in SPLITS}
    with progress("prepare") as report:
        for done, (split, row) in enumerate(rows, start=1):
            writers[split].add(row)
            report(done, None)
    for writer in writers.values():
        writer.close()
    return {split: writer.num_rows for split, writer in writers.items()}


class SplitWriter:
    """Writes one split's rows to `<split>-00000.parquet` and on, a row group at a time."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, shard_bytes: int) -> None:
        """Open nothing yet: a split without rows has no file."""
        self._folder, self._split, self._schema, self._shard_bytes = folder, split, schema, shard_bytes
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._pending_bytes = self._written_bytes = 0
        self.num_rows = self.num_shards = 0

    def add(self, row: dict[str, Any]) -> None:
        """Take one row; write a row group when enough has gathered."""
        self._rows.append(row)
        self._pending_bytes += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        self._pending_bytes += sum(map(_size, chain(*(value for value in row.values() if isinstance(value, list)))))
        self.num_rows += 1
        if self._pending_bytes >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()
        if self._writer:
            self._writer.close()

    def _flush(self) -> None:
        if self._writer is None or self._written_bytes >= self._shard_bytes:
            if self._writer:
                self._writer.close()
            path = self._folder / f"{self._split}-{self.num_shards:05d}.parquet"
            names = self._schema.names  # media are compressed already
            compression = {name: "none" if name in MEDIA else "zstd" for name in names}
            self._writer = pq.ParquetWriter(path, self._schema, compression=compression, write_statistics=False)
            self.num_shards += 1
            self._written_bytes = 0
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written_bytes += self._pending_bytes
        self._rows, self._pending_bytes = [], 0


def _size(item: Any) -> int:
    """Return about how many bytes an item of a list takes: a text, the times of a word, a number."""
    return len(item) if isinstance(item, str | list) else 8
