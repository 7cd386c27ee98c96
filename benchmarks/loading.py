"""An epoch of a model that reads several modalities, against the same network fed by a plain Dataset + DataLoader.

The contenders train the same untrained model on batches of the same size:

- `cached features`: what the stage does: features on the device once, batches gathered there by index;
- `features, DataLoader`: the same features in memory, a sample at a time through a map-style Dataset and the default
  collation, two workers;
- `media, DataLoader`: what a notebook does: each sample is decoded anew from its encoded bytes, two workers.

Run: `python -m benchmarks.loading classify`, after the features of that experiment were made
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import bench_parser, show, show_machine, take_turns
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.store import SPLITS, artifact_path
from stages.extractors import Extractor
from stages.extractors import extractor as extractor_of
from stages.extractors.batches import read_media
from stages.models.model import build, config_of, reading_of
from stages.models.tables import PRESENT, Split, load_split
from stages.models.tasks.base import ModelConfig
from stages.params import ClassifyParams, Params, TrainParams, column_of
from stages.params.cli import main, run_named
from stages.training.fit import TrainBatches, TrainingModule

WORKERS = 2


class PlainSamples(Dataset[dict[str, Tensor]]):
    """One sample at a time, its features made by `read` from what is kept of it."""

    def __init__(self, samples: list[dict[str, Any]], labels: np.ndarray, extractors: dict[str, Extractor]) -> None:
        """Take what is kept of each sample by modality: features, or with extractors encoded media."""
        self._samples, self._labels, self._extractors = samples, labels, extractors

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one sample as the model wants it."""
        item = {"label": torch.tensor(self._labels[index])}
        for modality, kept in self._samples[index].items():
            item[modality] = torch.from_numpy(self._features(modality, kept))
            item[modality + PRESENT] = torch.tensor(True)
        return item

    def _features(self, modality: str, kept: Any) -> np.ndarray:
        if not self._extractors:
            return kept
        extractor = self._extractors[modality]
        return extractor.extract(extractor.decode(kept)[None])[0]


def epoch(
    batches: Iterable[dict[str, Tensor]], config: ModelConfig, train: TrainParams, split: Split, device: Device
) -> None:
    """Train a fresh model on some batches."""
    torch.manual_seed(train.seed)
    task = build(config).to(device.device).train()
    optimizer = TrainingModule(task, train, len(split), split).configure_optimizers()["optimizer"]
    for batch in batches:
        on_device = {key: value.to(device.device) for key, value in batch.items()}
        with torch.autocast(device.device.type, device.dtype, enabled=device.dtype != torch.float32):
            loss = task.loss(on_device, train)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), train.gradient_clip)
        optimizer.step()


def kept_features(split: Split) -> list[dict[str, np.ndarray]]:
    """Return each sample's features, a copy of each."""
    return [
        {m: batch[m][0].numpy().copy() for m in split.features}
        for batch in split.batches([(np.array([i]), split.every(np.array([i]))) for i in range(len(split))])
    ]


def kept_media(params: Params, inputs: dict[str, str], split: Split) -> list[dict[str, bytes]]:
    """Return each sample's encoded media."""
    ids = {row["sample_id"]: i for i, row in enumerate(split.rows)}
    samples: list[dict[str, bytes]] = [{} for _ in ids]
    for modality, feature in inputs.items():
        section = params.features[feature]
        for sample_id, _, media in read_media(artifact_path("prepare", section.dataset), column_of(section)):
            if sample_id in ids and media:
                samples[ids[sample_id]][modality] = media[0].data
    return samples


def measure(params: Params, name: str, rounds: int) -> None:
    """Measure one experiment of params.yaml."""
    experiment, train = params.experiments[name], params.train_of(name)
    if not isinstance(experiment, ClassifyParams):
        raise InputError(f"{name} is no classification")
    inputs = experiment.inputs.used()
    device = set_up(*params.base.hardware())
    split = load_split(reading_of(experiment), SPLITS[0], device, train.device_cache_gb * 2**30)
    prepared = artifact_path("prepare", experiment.dataset)
    config = config_of(experiment, split.rows, {})
    labels = build(config).targets(split.rows)["label"]
    extractors = {m: _extractor(params, feature, device, prepared) for m, feature in inputs.items()}
    from_features = PlainSamples(kept_features(split), labels, {})
    from_media = PlainSamples(kept_media(params, inputs, split), labels, extractors)

    def plain(samples: PlainSamples) -> Iterator[dict[str, Tensor]]:
        yield from DataLoader(samples, train.batch_size, shuffle=True, num_workers=WORKERS)

    show_machine(device)
    steps = -(-len(split) // train.batch_size)
    contenders = {
        "cached features": lambda: epoch(
            islice(TrainBatches(split, build(config), train), steps), config, train, split, device
        ),
        "features, DataLoader": lambda: epoch(plain(from_features), config, train, split, device),
        "media, DataLoader": lambda: epoch(plain(from_media), config, train, split, device),
    }
    timings = take_turns(contenders, rounds)
    show(f"{', '.join(inputs)}, {experiment.fusion}, {len(split)} samples, {steps} steps", timings, (steps, "step"))


def _extractor(params: Params, feature: str, device: Device, prepared: Any) -> Extractor:
    section = params.features[feature]
    return extractor_of(section.extractor).from_params(section, device, f"features.{feature}", prepared)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("loading", __doc__, "a classification of params.yaml whose features are made")
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.rounds))


if __name__ == "__main__":
    main(command)
