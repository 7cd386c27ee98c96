"""Judges of pictures: networks trained on the real training pictures alone, that say what is in a picture.

`SceneJudge` reads the truth of a scene (objects with their looks and places, relations, the whole) where the source
has one and a lexicon of it; `LabelJudge` names the label. How often they are right of real test pictures is the
ceiling of what they find in made ones. They are trained anew wherever they are asked, by a fixed seed: the same
training pictures give the same judge.

Shapes: N, B pictures, D features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.base.lexicon import Lexicon
from stages.models.encoders.base import EncoderSize, FeatureSpec
from stages.models.encoders.cnn import CNN
from stages.models.metrics.pictures.scene_net import SceneNet

DIM, BATCH, SEED = 96, 64, 1
EPOCHS, LEAST_STEPS, MOST_STEPS = 10, 8, 500
RATE = 3e-3
SIDE = 32  # pictures are looked at no larger


@dataclass(frozen=True)
class Seen:
    """Pictures to learn from: uint8 (N, H, W, 3), with the prepared row of each."""

    pictures: np.ndarray
    rows: list[dict[str, Any]]


class Judge:
    """The protocol of a judge."""

    trunk: nn.Module  # pictures to a grid of features

    def find(self, pictures: np.ndarray) -> list[Any]:
        """Say what is in each uint8 picture (N, H, W, 3), as JSON values."""
        raise NotImplementedError

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Return what a picture is described by before anything is said of it, (N, D)."""
        with torch.inference_mode():
            grids = [self.trunk(torch.from_numpy(_small(part))) for part in _parts(pictures)]
        return torch.cat(grids).mean(1).numpy()


class SceneJudge(Judge):
    """Reads the truth of a scene."""

    def __init__(self, lexicon: Lexicon, seen: Seen) -> None:
        """Learn from real pictures whose rows have a truth."""
        with _seeded():
            self.network = SceneNet(lexicon, _spec(seen.pictures), DIM)
            targets = self.network.targets([row["truth"] for row in seen.rows])
            _fit(self.network, seen.pictures, lambda at, images: self.network.loss(images, targets, at))
        self.trunk = self.network.trunk

    @torch.inference_mode()
    def find(self, pictures: np.ndarray) -> list[Any]:
        """Return the truth as it is read, see `base.lexicon`."""
        return [found for part in _parts(pictures) for found in self.network.read(torch.from_numpy(_small(part)))]


class LabelJudge(Judge):
    """Names the label."""

    def __init__(self, seen: Seen) -> None:
        """Learn from real pictures whose rows have a label."""
        self.labels = sorted({row["label"] for row in seen.rows})
        numbers = torch.tensor([self.labels.index(row["label"]) for row in seen.rows])
        with _seeded():
            self.network = _LabelNet(_spec(seen.pictures), len(self.labels))
            _fit(self.network, seen.pictures, lambda at, images: F.cross_entropy(self.network(images), numbers[at]))
        self.trunk = self.network.trunk

    @torch.inference_mode()
    def find(self, pictures: np.ndarray) -> list[Any]:
        """Return `{"label": ...}`."""
        found = [self.network(torch.from_numpy(_small(part))).argmax(1) for part in _parts(pictures)]
        return [{"label": self.labels[number]} for number in torch.cat(found).tolist()]


class _LabelNet(nn.Module):
    def __init__(self, spec: FeatureSpec, classes: int) -> None:
        super().__init__()
        self.trunk = CNN(spec, EncoderSize(DIM, 1, 1, 0.0))
        self.classes = nn.Linear(2 * DIM, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(_pooled(self.trunk(images)))


def _pooled(grid_BLD: Tensor) -> Tensor:
    return torch.cat([grid_BLD.mean(1), grid_BLD.amax(1)], dim=-1)


def _spec(pictures: np.ndarray) -> FeatureSpec:
    return FeatureSpec(_small(pictures[:1]).shape[1:])


def _small(pictures: np.ndarray) -> np.ndarray:
    """Return pictures of a side of at most SIDE, larger ones averaged."""
    many, side = len(pictures), pictures.shape[1]
    if side <= SIDE or side % SIDE:
        return pictures
    cells = pictures.reshape(many, SIDE, side // SIDE, SIDE, side // SIDE, 3)
    return cells.mean((2, 4)).round().astype(np.uint8)


def _parts(pictures: np.ndarray) -> Iterator[np.ndarray]:
    yield from (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))


@contextmanager
def _seeded() -> Iterator[None]:
    """Draw by the judges' own seed inside, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def _fit(network: nn.Module, pictures: np.ndarray, loss: Any) -> None:
    """Train on the pictures; the rate falls to zero."""
    rng, many = np.random.default_rng(SEED), len(pictures)
    size = min(BATCH, many)
    steps = min(max(LEAST_STEPS, EPOCHS * many // size), MOST_STEPS)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    order = np.concatenate([rng.permutation(many) for _ in range(-(-steps * size // many))])
    network.train()
    for step in range(steps):
        at = np.sort(order[step * size : (step + 1) * size])
        found = loss(at, torch.from_numpy(_small(pictures[at])))
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        schedule.step()
    network.eval()
