"""A training of pictures that stops half way ends with the same bytes, of either head."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages.training.fit import Fitted, Setting, fit
from tests.support.small_splits import CPU, project_params
from tests.support.toy_pictures import toy_split, toy_task


class Unplugged(Exception):
    """The power goes."""


class LiveUntil:
    """A live run during whose last epoch the power goes."""

    def __init__(self, epochs: int) -> None:
        """Take how many epochs end well."""
        self._left = epochs
        self.files: list[str] = []

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics."""
        if "val_loss" in metrics:
            self._left -= 1
            if self._left < 0:
                raise Unplugged

    def log_file(self, place: str, content: bytes) -> None:
        """Take a sheet of samples."""
        assert content.startswith(b"\x89PNG")
        self.files.append(place)

    def flush(self) -> None:
        """Send nothing."""


def trained(head: str, checkpoints: Path, live: Any) -> Fitted | None:
    changes = {"epochs": 3, "batch_size": 16, "texts_per_step": 1, "monitor": "score", "ema_decay": 0.9}
    setting = Setting(project_params().train.model_copy(update=changes), CPU, checkpoints)
    task, splits = toy_task(head), {"train": toy_split(32, 1), "val": toy_split(16, 2)}
    task.study(splits["train"])
    torch.manual_seed(0)
    return fit(task, splits, setting, live)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", ["flow", "gan"])
def test_a_training_goes_on_and_ends_with_the_same_bytes(head, tmp_path):
    live = LiveUntil(1)
    with pytest.raises(Unplugged):
        trained(head, tmp_path / "cut", live)
    assert live.files == ["samples/epoch-0001.png"]
    whole, resumed = trained(head, tmp_path / "whole", None), trained(head, tmp_path / "cut", None)
    assert whole and resumed and whole.best_epoch == resumed.best_epoch
    assert whole.weights.keys() == resumed.weights.keys()
    assert all(torch.equal(value, resumed.weights[key]) for key, value in whole.weights.items())
    assert [row["val_asked_found"] for row in whole.curves] == [row["val_asked_found"] for row in resumed.curves]
