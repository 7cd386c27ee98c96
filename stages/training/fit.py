"""Fitting: Lightning's loop to the best epoch; a killed training goes on and ends with the same bytes."""

import logging
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from stages.base.device import Device
from stages.base.store import say
from stages.base.tracking import LiveRun
from stages.models.adapters import Adapter
from stages.models.tables import Split
from stages.models.tasks import Task
from stages.params import TrainParams
from stages.training.batches import TrainBatches, ValidationBatches
from stages.training.checkpoints import WholeCheckpoints, last_checkpoint
from stages.training.curves import Curves
from stages.training.module import FastAnswers, TrainingModule


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
    for part in task.modules():
        if isinstance(part, Adapter):
            part.halve_frozen(setting.device.dtype)
    module = TrainingModule(task, train, len(batches) * train.epochs, splits["val"])
    score, mode = ("val_loss", "min") if train.monitor == "loss" else (f"val_{task.headline}", "max")
    best = ModelCheckpoint(
        setting.checkpoints, "best", monitor=score, mode=mode, save_last=True, enable_version_counter=False
    )
    curves = Curves(live, train.epochs)
    callbacks: list[Callback] = [curves, EarlyStopping(score, mode=mode, patience=train.patience), best]
    if train.ema_decay:
        callbacks.insert(0, WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(train.ema_decay)))
    trainer = _trainer(train, setting.device, callbacks)
    last = last_checkpoint(setting.checkpoints)
    if last:
        say(f"going on from {last}")
    trainer.fit(
        module,
        train_dataloaders=batches,
        val_dataloaders=ValidationBatches(splits["val"], task, train.batch_size),
        ckpt_path=last,
        weights_only=True,
    )
    if not trainer.is_global_zero:
        return None  # the leader removes the checkpoints as soon as it has read them
    kept = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    weights = {k.removeprefix("task."): v for k, v in sorted(kept["state_dict"].items()) if k.startswith("task.")}
    if task.calibrated:
        task.load_state_dict(weights)
        task.to(setting.device.device).eval().calibrate(splits["val"], FastAnswers(train.batch_size))
        weights |= {name: task.state_dict()[name].cpu() for name in task.calibrated}
    return Fitted(weights, int(kept["epoch"]), str(setting.device.dtype), curves.rows)


def _trainer(train: TrainParams, device: Device, callbacks: list[Callback]) -> L.Trainer:
    on_terminal = sys.stdout.isatty()
    return L.Trainer(
        accelerator="gpu" if device.is_cuda else "cpu",
        devices=train.devices,
        strategy="ddp_find_unused_parameters_true" if train.devices > 1 else "auto",
        precision="bf16-mixed" if device.dtype == torch.bfloat16 else "32-true",
        max_epochs=train.epochs,
        gradient_clip_val=train.gradient_clip,
        plugins=[WholeCheckpoints()],
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
