"""Fields of a table as numbers, by the columns of the training split; these travel with the extractor."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.base.errors import InputError, MediaError
from stages.base.store import digest, write_json
from stages.extractors.base import Extractor
from stages.media.columns import Columns, read_columns

if TYPE_CHECKING:
    from stages.base.device import Device

VERSION = 1


class Fields(Extractor):
    """float32 (F, 2 + V) of a sample's normalised cells, a JSON list in the order of the columns."""

    dtype = "float32"

    def __init__(self, columns: Columns) -> None:
        """Take the columns."""
        self.columns, self.shape, self.cardinalities = columns, columns.shape, columns.cardinalities

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from the columns of the prepared data set.

        Raises:
            InputError: when it has no fields.
        """
        columns = read_columns(prepared)
        if columns is None:
            raise InputError(
                f"{key}.modality: data set {params.dataset} has no fields; for a table name their columns in "
                f"datasets.{params.dataset}.columns.fields"
            )
        return cls(columns)

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return {"extractor": "fields", "version": VERSION, "columns_digest": digest(self.columns.dump())}

    def decode(self, media: bytes) -> np.ndarray:
        """Turn normalised cells into numbers."""
        return self.columns.numbers(json.loads(media))

    def given(self, media: bytes) -> bytes | None:
        """Return the normalised cells of a JSON object of values by column, as a user gives it; None without a value.

        Raises:
            MediaError: naming what is wrong with it.
        """
        try:
            values = json.loads(media)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            name = json.dumps(self.columns.columns[0].name, ensure_ascii=False)
            raise MediaError(f"a JSON object of values by field is wanted, such as {{{name}: ...}}")
        cells = self.columns.given(values)
        return json.dumps(cells).encode() if any(cell is not None for cell in cells) else None

    def save(self, folder: Path) -> None:
        """Write the columns."""
        write_json(folder / "extractor.json", {"extractor": "fields", "columns": self.columns.dump()})

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read the columns."""
        return cls(Columns.load(json.loads((folder / "extractor.json").read_text(encoding="utf8"))["columns"]))
