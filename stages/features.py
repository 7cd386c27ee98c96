"""Features: one array per data set and modality, extracted once per medium and cached by content.

`--explain <sample id>` says why a sample is found in the cache or not; `--clear-cache` empties it.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.cli import main, run_named, stage_parser
from stages.errors import InputError
from stages.feature_cache import FeatureCache, all_caches, clear, evict
from stages.images import ImageError
from stages.parallel import read_ahead
from stages.params import Params
from stages.progress import progress
from stages.store import FEATURES, INDEX, SPLITS, artifact_path, read_manifest, reserve, say, writing

if TYPE_CHECKING:
    from stages.extractors import Extractor

SEGMENT_BYTES = 64 * 2**20  # what a kill can lose


@dataclass(frozen=True)
class Medium:
    """One sample's encoded bytes and where they came from."""

    sample_id: str
    split: str
    key: bytes  # sha256 of the bytes
    data: bytes


def read_media(folder: Path, modality: str) -> Iterator[Medium]:
    """Yield the media of a prepared data set, split by split, a row group in memory at a time."""
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["sample_id", modality])
                for sample_id, data in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    yield Medium(sample_id, split, hashlib.sha256(data).digest(), data)


def extract_missing(media: Iterator[Medium], extractor: "Extractor", cache: FeatureCache, params: Any) -> int:
    """Extract what the cache lacks, in batches, decoding ahead; return how many were extracted."""
    pending: set[bytes] = set()

    def missing() -> Iterator[Medium]:
        for medium in media:
            if medium.key not in cache and medium.key not in pending:
                pending.add(medium.key)
                yield medium

    def decode(batch: list[Medium]) -> tuple[list[bytes], np.ndarray]:
        return [medium.key for medium in batch], np.stack([_decode(extractor, medium) for medium in batch])

    segment = _Segment(cache)
    for keys, decoded in read_ahead(decode, _batches(missing(), params.batch_size), workers=2, ahead=4):
        segment.add(keys, _extract(extractor, decoded))
    segment.flush()
    return len(pending)


class _Segment:
    """Gathers batches until they make a segment worth a file."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self._keys: list[bytes] = []
        self._parts: list[np.ndarray] = []

    def add(self, keys: list[bytes], features: np.ndarray) -> None:
        self._keys += keys
        self._parts.append(features)
        if sum(part.nbytes for part in self._parts) >= SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._keys:
            self._cache.add(self._keys, np.concatenate(self._parts))
        self._keys, self._parts = [], []


def _decode(extractor: "Extractor", medium: Medium) -> np.ndarray:
    try:
        return extractor.decode(medium.data)
    except ImageError as error:
        raise InputError(f"sample {medium.sample_id}: {error}") from None


def _extract(extractor: "Extractor", decoded: np.ndarray) -> np.ndarray:
    import torch

    return extractor.extract(torch.from_numpy(decoded))


def _batches(items: Iterator[Medium], size: int) -> Iterator[list[Medium]]:
    batch: list[Medium] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def run(params: Params, name: str) -> None:
    """Make one feature array."""
    section = params.features[name]
    folder = artifact_path("prepare", section.dataset)
    manifest = read_manifest(folder)
    extractor = _extractor(params, name)
    cache = FeatureCache(extractor.identity())
    with writing("features", name, section.model_dump()) as draft:
        index: dict[str, list[str]] = {"sample_id": [], "split": []}
        keys: list[bytes] = []
        total = sum(manifest["counts"][split] for split in SPLITS)

        def media() -> Iterator[Medium]:
            with progress(f"features {name}") as report:
                for medium in read_media(folder, section.modality):
                    index["sample_id"].append(medium.sample_id)
                    index["split"].append(medium.split)
                    keys.append(medium.key)
                    yield medium
                    report(len(keys), total)

        extracted = extract_missing(media(), extractor, cache, section)
        path = draft.folder / FEATURES
        out = np.lib.format.open_memmap(path, "w+", np.dtype(extractor.dtype), (len(keys), *extractor.shape))
        reserve(path, path.stat().st_size)
        cache.copy_to(keys, out)
        out.flush()
        pq.write_table(pa.table(index), draft.folder / INDEX)
        extractor.save(draft.folder)
        draft.counts["samples"] = len(keys)
        draft.settings = extractor.identity()
    freed = evict(params.base.feature_cache_gb * 2**30)
    say(f"features {name}: {len(keys)} samples, {extracted} extracted, {len(keys) - extracted} from the cache")
    if freed:
        say(f"feature cache: {freed / 2**20:.0f} MB evicted to stay under base.feature_cache_gb")


def _extractor(params: Params, name: str) -> "Extractor":
    from stages.device import set_up
    from stages.extractors import EXTRACTORS

    section = params.features[name]
    device = set_up(params.base)
    return EXTRACTORS[section.extractor].from_params(section, device, key=f"features.{name}")


def explain(params: Params, name: str, sample_id: str) -> None:
    """Say whether the cache holds a sample's features, and if not, why."""
    section = params.features[name]
    media = read_media(artifact_path("prepare", section.dataset), section.modality)
    medium = next((medium for medium in media if medium.sample_id == sample_id), None)
    if medium is None:
        raise InputError(f"data set {section.dataset} has no sample {sample_id!r}")
    identity = _extractor(params, name).identity()
    say(f"{sample_id}: sha256 of its {section.modality} {medium.key.hex()}")
    if medium.key in FeatureCache(identity):
        say("hit: these bytes were extracted before, by this extractor with these settings")
        return
    say("miss: these bytes were not extracted before by this extractor with these settings")
    for _, other in all_caches():
        if other != identity and medium.key in FeatureCache(other):
            different = sorted(k for k in identity | other if identity.get(k) != other.get(k))
            say("  another cache has them, made with " + ", ".join(f"{k} {other.get(k)!r}" for k in different))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = stage_parser("features", __doc__)
    parser.add_argument("--explain", metavar="SAMPLE_ID", help="say why a sample hits or misses the cache")
    parser.add_argument("--clear-cache", action="store_true", help="empty the cache, or a named feature's part")
    args = parser.parse_args(argv)
    if args.clear_cache and not args.name:
        say(f"feature cache: {clear() / 2**20:.1f} MB freed")
        return
    run_named(args, "features", _action(args))


def _action(args: argparse.Namespace) -> Any:
    if args.explain:
        return lambda params, name: explain(params, name, args.explain)
    if args.clear_cache:
        return lambda params, name: say(
            f"feature cache of {name}: {clear(identity=_extractor(params, name).identity()) / 2**20:.1f} MB freed"
        )
    return run


if __name__ == "__main__":
    main(command)
