"""The training loop: Lightning's, with our loss, exact resuming, the validation score and live curves."""

import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from torch import Tensor

from stages.base.device import Device
from stages.base.store import say
from stages.base.tracking import LiveRun
from stages.models.tables import Split
from stages.models.tasks import Task
from stages.params import TrainParams


@dataclass(frozen=True)
class FastAnswers:
    """How validation answers: captions greedily, which is fast and compares epochs as well."""

    batch_size: int
    beam_size: int = 1
    length_penalty: float = 0.0


class TrainBatches:
    """Shuffled batches; the order depends on seed and epoch alone, so a resumed run sees the same."""

    def __init__(self, split: Split, task: Task, train: TrainParams) -> None:
        """Take the training split."""
        self._split, self._task, self._train = split, task, train
        self._targets = task.targets(split.rows)
        self.epoch = 0
        self.rank, self.world_size = 0, 1

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return math.ceil(len(self._split) / self._train.batch_size / self.world_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield this epoch's batches of this process."""
        rng = np.random.default_rng([self._train.seed, self.epoch])
        order = rng.permutation(len(self._split))
        size = self._train.batch_size * self.world_size
        wanted = len(self) * self.world_size * self._train.batch_size
        order = np.resize(order, wanted) if self.world_size > 1 else order
        chosen = [order[start : start + size] for start in range(0, len(order), size)]
        mine = [np.sort(rows[self.rank :: self.world_size]) for rows in chosen]
        picked = [(samples, self._split.draw(samples, self._train.texts_per_step, rng)) for samples in mine]
        targets = [self._task.take(self._targets, samples, picks, self._train, rng) for samples, picks in picked]
        for features, target in zip(self._split.batches(picked), targets, strict=True):
            yield features | {key: torch.from_numpy(value) for key, value in target.items()}


class ValidationBatches:
    """The validation split in order, with every target."""

    def __init__(self, split: Split, task: Task, batch_size: int) -> None:
        """Take the validation split."""
        self._split, self._task, self._batch_size = split, task, batch_size
        self._targets = task.targets(split.rows)

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(len(self._split) / self._batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield all batches."""
        for samples, picks, features in self._split.in_order(self._batch_size):
            targets = self._task.take(self._targets, samples, picks)
            yield features | {key: torch.from_numpy(value) for key, value in targets.items()}


class TrainingModule(L.LightningModule):
    """A task under training."""

    def __init__(self, task: Task, train: TrainParams, total_steps: int, validation: Split) -> None:
        """Take the task, the optimisation's settings, and what epochs are compared on."""
        super().__init__()
        self.task, self._train_params, self._total_steps = task, train, total_steps
        self._validation = validation

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.task.loss(batch, self._train_params)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=_size(batch), prog_bar=True)
        return loss

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run draws the same."""
        torch.manual_seed(self._train_params.seed * 100_003 + self.current_epoch)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Take the loss; after the last batch score the answers to the whole split, if that picks the best epoch.

        This hook and no later one sees the averaged weights.
        """
        self.log("val_loss", self.task.loss(batch), batch_size=_size(batch), sync_dist=True)
        last = batch_idx == math.ceil(len(self._validation) / self._train_params.batch_size) - 1
        if last and self._train_params.monitor == "score":
            answers = self.task.answer(self._validation, FastAnswers(self._train_params.batch_size))
            score = self.task.score(answers, self._validation.rows)
            self.log(f"val_{self.task.headline}", score, batch_size=1, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """No decay for vectors; linear warm-up, then a cosine to zero."""
        train = self._train_params
        groups = [
            {"params": [p for p in self.task.parameters() if p.ndim > 1], "weight_decay": train.weight_decay},
            {"params": [p for p in self.task.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer: torch.optim.Optimizer
        if train.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=train.learning_rate, momentum=train.momentum, nesterov=True)
        else:
            optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, 0.98))
        warmup = max(1, round(train.warmup_fraction * self._total_steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self._total_steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _size(batch: dict[str, Tensor]) -> int:
    return len(next(iter(batch.values())))


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
        from stages.base.progress import report_fraction

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
            say(f"epoch {row['epoch'] + 1}: " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(values.items())))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.rows = state_dict["rows"]


@dataclass(frozen=True)
class Setting:
    """How and where a training runs; `checkpoints` is a folder of its own."""

    train: TrainParams
    device: Device
    checkpoints: Path


@dataclass
class Fitted:
    """A finished training: the best epoch's weights, the number format of products, and the curves."""

    weights: dict[str, Tensor]
    best_epoch: int
    precision: str
    curves: list[dict[str, float]] = field(default_factory=list)


def fit(task: Task, splits: dict[str, Split], setting: Setting, live: LiveRun | None) -> Fitted | None:
    """Train a task to its best epoch, going on from the last checkpoint if there is one; a follower gets None."""
    _quiet()
    train = setting.train
    batches = TrainBatches(splits["train"], task, train)
    batches.world_size = train.devices
    module = TrainingModule(task, train, len(batches) * train.epochs, splits["val"])
    score, mode = ("val_loss", "min") if train.monitor == "loss" else (f"val_{task.headline}", "max")
    best = ModelCheckpoint(
        setting.checkpoints, "best", monitor=score, mode=mode, save_last=True, enable_version_counter=False
    )
    curves = Curves(live, train.epochs)
    callbacks: list[Callback] = [curves, EarlyStopping(score, mode=mode, patience=train.patience), best]
    if train.ema_decay:
        callbacks.insert(0, EMAWeightAveraging(decay=train.ema_decay))
    trainer = _trainer(train, setting.device, callbacks)
    last = setting.checkpoints / "last.ckpt"
    if last.exists():
        say(f"going on from {last}")
    trainer.fit(
        module,
        train_dataloaders=batches,
        val_dataloaders=ValidationBatches(splits["val"], task, train.batch_size),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    if not trainer.is_global_zero:
        return None  # the leader removes the checkpoints as soon as it has read them
    kept = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    weights = {k.removeprefix("task."): v for k, v in sorted(kept["state_dict"].items()) if k.startswith("task.")}
    return Fitted(weights, int(kept["epoch"]), str(setting.device.dtype), curves.rows)


def _trainer(train: TrainParams, device: Device, callbacks: list[Callback]) -> L.Trainer:
    import sys

    on_terminal = sys.stdout.isatty()
    return L.Trainer(
        accelerator="gpu" if device.is_cuda else "cpu",
        devices=train.devices,
        strategy="ddp_find_unused_parameters_true" if train.devices > 1 else "auto",
        precision="bf16-mixed" if device.dtype == torch.bfloat16 else "32-true",
        max_epochs=train.epochs,
        gradient_clip_val=train.gradient_clip,
        callbacks=[*callbacks, *([RichProgressBar()] if on_terminal else [])],
        enable_progress_bar=on_terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        deterministic="warn",
    )


def _quiet() -> None:
    """Lightning's hints are about choices that are made here on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
