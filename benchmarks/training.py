"""An epoch of training from cached features, against the same model with the frozen backbone in the loop.

The contenders train the same untrained model on the same batches:

- `cached features`: what the stage does;
- `backbone in the loop`: each batch's images are decoded (ahead, in threads) and run through the backbone first.

Run: `python -m benchmarks.training caption`, after the features of that experiment were made
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import bench_parser, show, show_machine, take_turns
from stages.cli import main, run_named
from stages.device import Device, set_up
from stages.extractors import EXTRACTORS, Extractor
from stages.features import read_media
from stages.model import build
from stages.parallel import read_ahead
from stages.params import Params, TrainParams
from stages.store import SPLITS, VOCABULARY, artifact_path
from stages.tables import FeatureTable, Split, load_split
from stages.tasks.base import ModelConfig
from stages.trainer import TrainBatches, TrainingModule


class BackboneInTheLoop(FeatureTable):
    """A training split's images, turned into features anew for each batch."""

    def __init__(self, images: list[bytes], extractor: Extractor, device: Device) -> None:
        """Take the encoded images in the order of the split."""
        self._images, self._extractor, self._device = images, extractor, device
        self.shape = extractor.shape

    def batches(self, chosen: list[np.ndarray]) -> Iterator[Tensor]:
        """Yield the features of each batch of row numbers."""
        for decoded in read_ahead(self._decode, chosen, workers=2, ahead=2):
            yield torch.from_numpy(self._extractor.extract(decoded)).to(self._device.device)

    def _decode(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.stack([self._extractor.decode(self._images[row]) for row in rows]))


def epoch(split: Split, config: ModelConfig, params: Params, train: TrainParams, device: Device, steps: int) -> None:
    """Train a fresh model for some steps."""
    torch.manual_seed(params.base.seed)
    task = build(config).to(device.device).train()
    batches = TrainBatches(split, task, train, params.base.seed)
    optimizer = TrainingModule(task, train, len(batches), params.base.seed).configure_optimizers()["optimizer"]
    for batch in islice(batches, steps):
        on_device = {key: value.to(device.device) for key, value in batch.items()}
        with torch.autocast(device.device.type, device.dtype, enabled=device.dtype != torch.float32):
            loss = task.loss(on_device, train)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), train.gradient_clip)
        optimizer.step()


def measure(params: Params, name: str, steps: int, rounds: int) -> None:
    """Measure one experiment of params.yaml."""
    experiment, train = params.experiments[name], params.train_of(name)
    inputs = experiment.inputs.model_dump()
    device = set_up(params.base)
    cached = load_split(experiment.dataset, inputs, SPLITS[0], device, train.device_cache_gb * 2**30)
    prepared = artifact_path("prepare", experiment.dataset)
    vocabulary = json.loads((prepared / VOCABULARY).read_text("utf8"))
    config = ModelConfig(experiment, {"image": cached.features["image"].shape}, vocabulary)
    section: Any = params.features[inputs["image"]]
    extractor = EXTRACTORS[section.extractor].from_params(section, device, f"features.{inputs['image']}")
    images = [medium.data for medium in read_media(prepared, "image") if medium.split == SPLITS[0]]
    in_loop = Split(cached.rows, {"image": BackboneInTheLoop(images, extractor, device)})
    steps = min(steps or len(images), -(-len(images) // train.batch_size))
    show_machine(device)
    timings = take_turns(
        {
            "cached features": lambda: epoch(cached, config, params, train, device, steps),
            "backbone in the loop": lambda: epoch(in_loop, config, params, train, device, steps),
        },
        rounds,
    )
    title = f"{experiment.encoder} + {experiment.head}, {train.batch_size} images x {train.captions_per_step} captions"
    show(f"{title}, {steps} steps", timings, (steps, "step"))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("training", __doc__, "an experiment of params.yaml whose features are made")
    parser.add_argument("--steps", type=int, default=0, help="steps of an epoch; 0 takes all")
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.steps, args.rounds))


if __name__ == "__main__":
    main(command)
