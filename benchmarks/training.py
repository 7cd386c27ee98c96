"""An epoch of training from cached features, against the same model with the frozen encoder in the loop.

The contenders train the same untrained model on the same batches:

- `cached features`: what the stage does;
- `encoder in the loop`: each batch's media are decoded (ahead, in threads) and run through the encoder first.

Run: `python -m benchmarks.training caption`, after the features of that experiment were made; `--modality` names the
input whose encoder it is, where that is not an image
"""

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from benchmarks.loading import epoch
from benchmarks.timing import CONSOLE, bench_parser, show, show_machine, take_turns
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.parallel import read_ahead
from stages.base.store import SPLITS, artifact_path
from stages.extractors import Extractor, make_extractor
from stages.extractors.batches import read_media
from stages.models.model import build, config_of, find_bases, load_pretrained, reading_of
from stages.models.tables import FeatureTable, Split, load_split
from stages.params import Params, column_of
from stages.params.cli import main, run_named
from stages.training.fit import TrainBatches


class EncoderInTheLoop(FeatureTable):
    """A training split's media, turned into features anew for each batch."""

    def __init__(self, media: list[bytes], extractor: Extractor, device: Device) -> None:
        """Take the encoded media, one for each sample, in the order of the split."""
        self._media, self._extractor, self._device = media, extractor, device
        self.shape, self.counts = extractor.shape, np.ones(len(media), np.int64)

    def batches(self, chosen: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features (B, 1, ...) of each batch of samples; none lacks its medium."""
        for decoded in read_ahead(self._decode, [samples for samples, _ in chosen], workers=2, ahead=2):
            features = torch.from_numpy(self._extractor.extract(decoded)).to(self._device.device)
            yield features.unsqueeze(1), torch.ones(len(features), 1, dtype=torch.bool, device=self._device.device)

    def _decode(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self._extractor.decode(self._media[row]) for row in rows])


def measure(params: Params, name: str, modality: str, steps: int, rounds: int) -> None:
    """Measure one experiment of params.yaml."""
    experiment, train = params.experiments[name], params.train_of(name)
    inputs = experiment.inputs.used()
    if modality not in inputs:
        raise InputError(f"{name} has no input {modality}; it has {', '.join(inputs)}: say which by --modality")
    device = set_up(*params.base.hardware())
    cached = load_split(reading_of(experiment), SPLITS[0], device, train.device_cache_gb * 2**30)
    config = config_of(experiment, cached.rows, find_bases(experiment, f"experiments.{name}"))
    section, key = params.features[inputs[modality]], f"features.{inputs[modality]}"
    prepared = artifact_path("prepare", experiment.dataset)
    found = [media for _, _, media in read_media(prepared, column_of(section), SPLITS[:1])]
    if any(len(media) != 1 for media in found):
        raise InputError(f"{name}: not every training sample has one {modality}; expected one of each")
    extractor = make_extractor(section, device, key, prepared)
    tables = {**cached.features, modality: EncoderInTheLoop([media[0].data for media in found], extractor, device)}
    in_loop = dataclasses.replace(cached, features=tables)
    steps = min(steps or len(found), -(-len(found) // train.batch_size))
    show_machine(device)

    def train_on(split: Split) -> None:
        task = build(config)
        load_pretrained(task, f"experiments.{name}")
        epoch(islice(TrainBatches(split, task, train), steps), config, train, split, device)

    contenders = {"cached features": lambda: train_on(cached), "encoder in the loop": lambda: train_on(in_loop)}
    timings = take_turns(contenders, rounds)
    title = f"{section.extractor} {modality}, {experiment.task}, {train.batch_size} samples a step"
    show(f"{title}, {steps} steps", timings, (steps, "step"))
    first = np.arange(min(train.batch_size, len(found)))
    kept, anew = (
        next(iter(split.features[modality].batches([(first, np.zeros((len(first), 1), np.int64))])))[0].float()
        for split in (cached, in_loop)
    )
    CONSOLE.print(f"largest difference of features, cached and in the loop: {float((kept - anew).abs().max()):.4f}")


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("training", __doc__, "an experiment of params.yaml whose features are made")
    parser.add_argument("--modality", default="image", help="the input whose encoder is put into the loop")
    parser.add_argument("--steps", type=int, default=0, help="steps of an epoch; 0 takes all")
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.modality, args.steps, args.rounds))


if __name__ == "__main__":
    main(command)
