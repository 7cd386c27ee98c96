"""Each epoch's values: kept through a kill, shown, and sent to the live run."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from stages.base.progress import report_fraction
from stages.base.store import say
from stages.base.tracking import LiveRun


class Curves(Callback):
    """Keeps each epoch's values, through resuming too, shows them and sends them to the live run."""

    def __init__(self, live: LiveRun | None, epochs: int) -> None:
        """Take the live run, which followers lack."""
        self.rows: list[dict[str, float]] = []
        self._live, self._epochs = live, epochs

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the batches which epoch it is, and whose."""
        batches: Any = trainer.train_dataloader
        batches.epoch, batches.rank = trainer.current_epoch, trainer.global_rank

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send the loss of the step."""
        done = trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
        report_fraction(done / self._epochs)
        if self._live and trainer.global_step % 10 == 0:
            self._live.log({"train_loss_step": float(outputs["loss"])}, trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep, show and send the epoch's values."""
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        row = {"epoch": trainer.current_epoch, **dict(sorted(values.items()))}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append(row)
        if self._live:
            self._live.log({key: value for key, value in row.items() if key != "epoch"}, trainer.global_step)
            self._live.flush()
            if sketch := getattr(pl_module, "sketch", None):
                self._live.log_file(f"samples/epoch-{trainer.current_epoch + 1:04d}.png", sketch)
            say(f"epoch {row['epoch'] + 1}: " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(values.items())))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.rows = state_dict["rows"]


def write_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one row an epoch as CSV."""
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
