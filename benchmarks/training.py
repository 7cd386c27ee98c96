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

from benchmarks.loading import epoch
from benchmarks.timing import bench_parser, show, show_machine, take_turns
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.parallel import read_ahead
from stages.base.store import SPLITS, VOCABULARY, artifact_path
from stages.extractors import Extractor
from stages.extractors import extractor as extractor_of
from stages.extractors.batches import read_media
from stages.models.model import build, reading_of
from stages.models.tables import FeatureTable, Split, feature_spec, load_split
from stages.models.tasks.base import ModelConfig
from stages.params import CaptionParams, Params
from stages.params.cli import main, run_named
from stages.training.fit import TrainBatches


class BackboneInTheLoop(FeatureTable):
    """A training split's images, turned into features anew for each batch."""

    def __init__(self, images: list[bytes], extractor: Extractor, device: Device) -> None:
        """Take the encoded images in the order of the split."""
        self._images, self._extractor, self._device = images, extractor, device
        self.shape, self.counts = extractor.shape, np.ones(len(images), np.int64)

    def batches(self, chosen: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features (B, 1, ...) of each batch of samples; none lacks its image."""
        for decoded in read_ahead(self._decode, [samples for samples, _ in chosen], workers=2, ahead=2):
            features = torch.from_numpy(self._extractor.extract(decoded)).to(self._device.device)
            yield features.unsqueeze(1), torch.ones(len(features), 1, dtype=torch.bool, device=self._device.device)

    def _decode(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self._extractor.decode(self._images[row]) for row in rows])


def measure(params: Params, name: str, steps: int, rounds: int) -> None:
    """Measure one experiment of params.yaml."""
    experiment, train = params.experiments[name], params.train_of(name)
    if not isinstance(experiment, CaptionParams):
        raise InputError(f"{name} is no captioning experiment")
    inputs = experiment.inputs.used()
    device = set_up(*params.base.hardware())
    cached = load_split(reading_of(experiment), SPLITS[0], device, train.device_cache_gb * 2**30)
    prepared = artifact_path("prepare", experiment.dataset)
    vocabularies = json.loads((prepared / VOCABULARY).read_text("utf8"))
    config = ModelConfig(experiment, {"image": feature_spec(inputs["image"])}, vocabularies)
    section: Any = params.features[inputs["image"]]
    extractor = extractor_of(section.extractor).from_params(section, device, f"features.{inputs['image']}", prepared)
    images = [
        medium.data for _, split, media in read_media(prepared, "image") if split == SPLITS[0] for medium in media
    ]
    in_loop = Split(cached.rows, {"image": BackboneInTheLoop(images, extractor, device)})
    steps = min(steps or len(images), -(-len(images) // train.batch_size))
    show_machine(device)

    def train_on(split: Split) -> None:
        epoch(islice(TrainBatches(split, build(config), train), steps), config, train, split, device)

    contenders = {"cached features": lambda: train_on(cached), "backbone in the loop": lambda: train_on(in_loop)}
    timings = take_turns(contenders, rounds)
    title = (
        f"{experiment.encoders.image} + {experiment.head}, {train.batch_size} images x {train.texts_per_step} captions"
    )
    show(f"{title}, {steps} steps", timings, (steps, "step"))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("training", __doc__, "an experiment of params.yaml whose features are made")
    parser.add_argument("--steps", type=int, default=0, help="steps of an epoch; 0 takes all")
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.steps, args.rounds))


if __name__ == "__main__":
    main(command)
