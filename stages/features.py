"""Features: one array per data set and modality, extracted once per medium and cached by content.

`--explain <sample id>` says why a sample is found in the cache or not; `--clear-cache` empties it.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.cli import main, run_named, stage_parser
from stages.errors import InputError, MediaError
from stages.feature_cache import FeatureCache, all_caches, clear, evict
from stages.parallel import read_ahead
from stages.params import Params, column_of
from stages.progress import progress
from stages.store import FEATURES, INDEX, SPLITS, artifact_path, read_manifest, reserve, say, writing

if TYPE_CHECKING:
    from stages.extractors import Extractor

SEGMENT_BYTES = 64 * 2**20  # what a kill can lose


@dataclass(frozen=True)
class Medium:
    """Encoded bytes of one medium, and the sample that it was met in."""

    sample_id: str
    key: bytes  # sha256 of the bytes
    data: bytes


@dataclass
class Index:
    """Which rows of the array are a sample's: none where it lacks the modality, several for several texts."""

    sample_id: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    row_of: dict[bytes, int] = field(default_factory=dict)  # equal media share a row

    def add(self, sample_id: str, split: str, keys: list[bytes]) -> None:
        """Take the next sample."""
        self.sample_id.append(sample_id)
        self.split.append(split)
        self.rows.append([self.row_of.setdefault(key, len(self.row_of)) for key in keys])

    def table(self) -> pa.Table:
        """Return what is written."""
        rows = pa.array(self.rows, pa.list_(pa.int32()))
        return pa.table({"sample_id": self.sample_id, "split": self.split, "rows": rows})


def read_media(folder: Path, column: str) -> Iterator[tuple[str, str, list[Medium]]]:
    """Yield (sample id, split, media) of a prepared data set, a row group in memory at a time."""
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path)
            if column not in file.schema_arrow.names:
                raise InputError(
                    f"{folder} has no column {column}; its source gives {', '.join(file.schema_arrow.names)}"
                )
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["sample_id", column])
                for sample_id, value in zip(*(c.to_pylist() for c in table.columns), strict=True):
                    media = value if isinstance(value, list) else [value] if value is not None else []
                    yield sample_id, split, [_medium(sample_id, item) for item in media]


def _medium(sample_id: str, value: bytes | str) -> Medium:
    data = value.encode() if isinstance(value, str) else value
    return Medium(sample_id, hashlib.sha256(data).digest(), data)


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
    except MediaError as error:
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
        index = Index()
        total = sum(manifest["counts"][split] for split in SPLITS)

        def media() -> Iterator[Medium]:
            with progress(f"features {name}") as report:
                for sample_id, split, found in read_media(folder, column_of(section)):
                    index.add(sample_id, split, [medium.key for medium in found])
                    yield from found
                    report(len(index.rows), total)

        extracted = extract_missing(media(), extractor, cache, section)
        keys = list(index.row_of)
        if not keys:
            raise InputError(f"features.{name}: no sample of {section.dataset} has any {column_of(section)}")
        path = draft.folder / FEATURES
        out = np.lib.format.open_memmap(path, "w+", np.dtype(extractor.dtype), (len(keys), *extractor.shape))
        reserve(path, path.stat().st_size)
        cache.copy_to(keys, out)
        out.flush()
        pq.write_table(index.table(), draft.folder / INDEX)
        extractor.save(draft.folder)
        draft.counts |= {"samples": len(index.rows), "rows": len(keys)}
        draft.settings = {**extractor.identity(), "num_words": extractor.num_words}
    freed = evict(params.base.feature_cache_gb * 2**30)
    say(f"features {name}: {len(keys)} media of {len(index.rows)} samples, {extracted} extracted")
    if freed:
        say(f"feature cache: {freed / 2**20:.0f} MB evicted to stay under base.feature_cache_gb")


def _extractor(params: Params, name: str) -> "Extractor":
    from stages.device import set_up
    from stages.extractors import EXTRACTORS

    section = params.features[name]
    prepared = artifact_path("prepare", section.dataset)
    return EXTRACTORS[section.extractor].from_params(section, set_up(params.base), f"features.{name}", prepared)


def explain(params: Params, name: str, sample_id: str) -> None:
    """Say whether the cache holds a sample's features, and if not, why."""
    section = params.features[name]
    samples = read_media(artifact_path("prepare", section.dataset), column_of(section))
    media = next((found for other, _, found in samples if other == sample_id), None)
    if media is None:
        raise InputError(f"data set {section.dataset} has no sample {sample_id!r}")
    identity = _extractor(params, name).identity()
    if not media:
        say(f"{sample_id} has no {column_of(section)}")
    for medium in media:
        say(f"{sample_id}: sha256 of its {column_of(section)} {medium.key.hex()}")
        _explain_medium(medium, identity)


def _explain_medium(medium: Medium, identity: dict[str, Any]) -> None:
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
