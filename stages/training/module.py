"""A task under training, as Lightning takes it: the loss, the validation score, optimiser and learning rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from stages.models.adapters import Adapter
from stages.models.encoders.backbone import Backbone
from stages.models.tables import Split
from stages.models.tasks import Task
from stages.models.tasks.base import size_of
from stages.params import TrainParams


def _groups(task: Task, train: TrainParams) -> Iterator[dict[str, Any]]:
    """Yield parameters with their learning rate and decay: what was pretrained may have a rate of its own."""
    own = train.learning_rate if train.pretrained_learning_rate == "none" else train.pretrained_learning_rate
    holders = [part for part in task.modules() if isinstance(part, Adapter | Backbone)]
    old = {id(weight) for part in holders for weight in part.pretrained_weights()}
    for rate, is_old in ((train.learning_rate, False), (own, True)):
        weights = [w for w in task.parameters() if w.requires_grad and (id(w) in old) is is_old]
        for decay, chosen in (
            (train.weight_decay, [weight for weight in weights if weight.ndim > 1]),
            (0.0, [weight for weight in weights if weight.ndim <= 1]),
        ):
            if chosen:
                yield {"params": chosen, "weight_decay": decay, "lr": rate}


@dataclass(frozen=True)
class FastAnswers:
    """How validation answers: captions greedily, pictures in few steps, which is fast and compares epochs as well."""

    batch_size: int
    beam_size: int = 1
    length_penalty: float = 0.0
    temperature: float = 0.0
    top_p: float = 1.0
    steps: int = 12
    guidance: float = 2.0
    num_samples_shown: int = 0


class TrainingModule(L.LightningModule):
    """A task under training."""

    def __init__(self, task: Task, train: TrainParams, total_steps: int, validation: Split) -> None:
        """Take the task, the optimisation's settings, and what epochs are compared on."""
        super().__init__()
        self.task, self._train_params, self._total_steps = task, train, total_steps
        self._validation = validation
        self.sketch: bytes | None = None  # of the last epoch

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.task.loss(batch, self._train_params)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size_of(batch), prog_bar=True)
        return loss

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run draws the same."""
        torch.manual_seed(self._train_params.seed * 100_003 + self.current_epoch)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Take the loss; after the last batch score the answers to the whole split, if that picks the best epoch.

        This hook and no later one sees the averaged weights.
        """
        self.log("val_loss", self.task.loss(batch), batch_size=self.task.num_known(batch), sync_dist=True)
        last = batch_idx == math.ceil(len(self._validation) / self._train_params.batch_size) - 1
        if last and self.trainer.is_global_zero:
            self.sketch = self.task.sketch(self._validation, FastAnswers(self._train_params.batch_size))
        if last and self._train_params.monitor == "score":
            answers = self.task.answer(self._validation, FastAnswers(self._train_params.batch_size))
            score = self.task.score(answers, self._validation.rows)
            self.log(f"val_{self.task.headline}", score, batch_size=1, prog_bar=True, sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm; Lightning's own refuses a fused optimiser, for the sake of scaled gradients: none are here."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.task.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """No decay for vectors; linear warm-up, then a cosine to zero."""
        train = self._train_params
        groups = list(_groups(self.task, train))
        optimizer: torch.optim.Optimizer
        if train.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, train.learning_rate, train.momentum, nesterov=True, fused=True)
        else:
            optimizer = torch.optim.AdamW(groups, train.learning_rate, betas=self.task.betas, fused=True)
        warmup = max(1, round(train.warmup_fraction * self._total_steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self._total_steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
