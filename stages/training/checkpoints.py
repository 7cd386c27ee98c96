"""Checkpoints that are whole or absent, though the disk fills or a kill comes: written beside their place and moved in.

Lightning's own are written in the system's temporary folder and copied where that is another disk.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from stages.base.store import say, write_bytes


class WholeCheckpoints(TorchCheckpointIO):
    """How the trainer writes its checkpoints."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            OSError: ENOSPC, naming the file, when the disk is full.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getbuffer())


def last_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint to go on from; one that is damaged is removed, and said."""
    last = folder / "last.ckpt"
    if not last.exists():
        return None
    if not zipfile.is_zipfile(last):
        say(f"{last} is damaged and removed; training begins anew")
        last.unlink()
        return None
    return last
