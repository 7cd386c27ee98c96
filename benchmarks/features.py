"""Feature extraction: what reading, decoding and caching cost beside the backbone, and what a cache saves.

The contenders extract the same images, of one feature of params.yaml with the extractor `torchvision`:

- `features`: what the stage does: Parquet rows, decoding ahead, the folded channels-last backbone, cache, array;
- `bare forward`: the same backbone in the same number format on ready tensors, nothing else;
- `plain loop`: a torch `Dataset` and `DataLoader` (two workers), the backbone as torchvision makes it, float32;
- `1 % new`: the stage's work when all but the last hundredth are in the cache.

Run: `python -m benchmarks.features flickr8k-image`
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.timing import CONSOLE, bench_parser, show, show_machine, take_turns
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.memory import keep_memory
from stages.base.store import artifact_path
from stages.cache.segments import FeatureCache
from stages.extractors.batches import Medium, read_media
from stages.extractors.torchvision import MEAN, STD, Torchvision, build_trunk
from stages.features import extract_missing
from stages.params import Params, TorchvisionParams
from stages.params.cli import main, run_named


class ImageFiles(Dataset[torch.Tensor]):
    """Encoded images, prepared the way of torchvision's examples."""

    def __init__(self, media: list[Medium], size_px: int) -> None:
        """Take the images."""
        self._media = media
        self._prepare = transforms.Compose(
            [
                transforms.Resize((size_px, size_px), antialias=True),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._media)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one image, (3, H, W)."""
        return self._prepare(Image.open(io.BytesIO(self._media[index].data)).convert("RGB"))


@dataclass(frozen=True)
class Job:
    """What all contenders extract, and how."""

    media: list[Medium]
    extractor: Torchvision
    section: Any


def plain_loop(job: Job) -> np.ndarray:
    """Extract as a notebook would."""
    trunk, _ = build_trunk(job.extractor.settings, job.extractor.state)
    images = ImageFiles(job.media, job.extractor.size_px)
    with torch.inference_mode():
        parts = [trunk(batch)["out"] for batch in DataLoader(images, job.section.batch_size, num_workers=2)]
    features = torch.cat(parts)
    return (features.flatten(2).transpose(1, 2) if features.ndim == 4 else features).half().numpy()


def bare_forward(job: Job, ready: list[torch.Tensor], device: Device) -> None:
    """Run the stage's own backbone on normalised, channels-last images."""
    mixed = device.dtype != torch.float32
    with torch.inference_mode(), torch.autocast(device.device.type, device.dtype, enabled=mixed):
        for batch in ready:
            job.extractor.model(batch)
        if device.is_cuda:
            torch.cuda.synchronize()


def all_media(section: TorchvisionParams) -> Iterator[Medium]:
    """Yield the images of a section's data set, as the stage reads them."""
    for _, _, media in read_media(artifact_path("prepare", section.dataset), section.modality):
        yield from media


def stage(job: Job, cache_folder: Path) -> np.ndarray:
    """Do the stage's work: read Parquet, extract what the cache lacks, gather all in one array."""
    media = islice(all_media(job.section), len(job.media))
    cache = FeatureCache(job.extractor.identity(), cache_folder)
    extract_missing(media, job.extractor, cache, job.section)
    with tempfile.TemporaryDirectory() as folder:
        shape = (len(job.media), *job.extractor.shape)
        out = np.lib.format.open_memmap(Path(folder, "features.npy"), "w+", job.extractor.dtype, shape)
        cache.copy_to([medium.key for medium in job.media], out)
        return np.array(out)


def from_empty_cache(job: Job) -> np.ndarray:
    """Extract everything."""
    with tempfile.TemporaryDirectory() as folder:
        return stage(job, Path(folder))


def from_known(job: Job, cache_folder: Path) -> np.ndarray:
    """Extract what the cache in the folder lacks, and leave the cache as it was."""
    before = set(cache_folder.rglob("*"))
    features = stage(job, cache_folder)
    for path in set(cache_folder.rglob("*")) - before:
        path.unlink()
    return features


def measure(params: Params, name: str, num_images: int, rounds: int) -> None:
    """Measure one feature of params.yaml."""
    section = params.features[name]
    if section.extractor != "torchvision":
        fitting = [key for key, value in params.features.items() if value.extractor == "torchvision"]
        raise InputError(f"params.yaml: {name!r} is no feature with extractor torchvision; there are: {fitting}")
    device = set_up(*params.base.hardware())
    prepared = artifact_path("prepare", section.dataset)
    extractor = Torchvision.from_params(section, device, f"features.{name}", prepared)
    media = list(islice(all_media(section), num_images))
    job = Job(media, extractor, section)
    images = ImageFiles(media, extractor.size_px)
    ready = [
        torch.stack([images[i] for i in range(start, min(start + section.batch_size, len(media)))])
        .to(memory_format=torch.channels_last)
        .to(device.device)
        for start in range(0, len(media), section.batch_size)
    ]
    show_machine(device)
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder)
        stage(replace(job, media=media[: -max(1, len(media) // 100)]), known)
        contenders = {
            "features": lambda: from_empty_cache(job),
            "bare forward": lambda: bare_forward(job, ready, device),
            "plain loop": lambda: plain_loop(job),
            "1 % new": lambda: from_known(job, known),
        }
        timings = take_turns(contenders, rounds)
    title = f"{section.backbone} {section.layer}, {section.size_px} px, batches of {section.batch_size}"
    show(f"{title}, {len(media)} images of {section.dataset}", timings, (len(media), "image"))
    far = np.abs(plain_loop(job).astype(np.float32) - from_empty_cache(job).astype(np.float32)).mean()
    CONSOLE.print(f"mean difference between the features of `features` and `plain loop`: {far:.4f}")


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("features", __doc__, "a feature of params.yaml whose data set is prepared")
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args(argv)
    run_named(args, "features", lambda params, name: measure(params, name, args.images, args.rounds))


if __name__ == "__main__":
    keep_memory()  # as the stage does, for all contenders
    main(command)
