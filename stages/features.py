"""Features: one array per data set and modality, extracted once per medium and cached by content.

`--explain <sample id>` says why a sample is found in the cache or not; `--clear-cache` empties it.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.base.memory import keep_memory
from stages.base.progress import progress
from stages.base.store import FEATURES, INDEX, SPLITS, Draft, artifact_path, read_manifest, reserve, say, writing
from stages.cache.segments import FeatureCache, all_caches, clear, evict, fill
from stages.params import NONE, Params, column_of
from stages.params.cli import main, run_named, stage_parser

if TYPE_CHECKING:
    from stages.base.device import Device
    from stages.extractors import Extractor
    from stages.extractors.batches import Medium


def extract_missing(media: "Iterator[Medium]", extractor: "Extractor", cache: FeatureCache, params: Any) -> int:
    """Extract what the cache lacks, in batches, decoding ahead; return how many were extracted."""
    from stages.extractors.batches import extract

    pending: set[bytes] = set()

    def missing() -> "Iterator[Medium]":
        for medium in media:
            if medium.key not in cache and medium.key not in pending:
                pending.add(medium.key)
                yield medium

    fill(cache, extract(missing(), extractor, params.batch_size))
    return len(pending)


def run(params: Params, name: str) -> None:
    """Make one feature array."""
    from stages.extractors.batches import Index

    section = params.features[name]
    manifest = read_manifest(artifact_path("prepare", section.dataset))
    extractor = _extractor(params, name)
    cache = FeatureCache(extractor.identity())
    with writing("features", name, section.model_dump()) as draft:
        index, cut = Index(), 0
        total = sum(manifest["counts"][split] for split in SPLITS)
        samples = _samples(params, name, draft)

        def media() -> "Iterator[Medium]":
            nonlocal cut
            with progress(f"features {name}") as report:
                for sample_id, split, found in samples:
                    new = {medium.key: medium.data for medium in found if medium.key not in index.row_of}
                    cut += sum(map(extractor.exceeds, new.values()))
                    index.add(sample_id, split, [medium.key for medium in found])
                    yield from found
                    report(len(index.rows), total)

        extracted = extract_missing(media(), extractor, cache, section)
        keys = list(index.row_of)
        if not keys:
            raise InputError(f"features.{name}: {_nothing(section)}")
        path = draft.folder / FEATURES
        out = np.lib.format.open_memmap(path, "w+", np.dtype(extractor.dtype), (len(keys), *extractor.shape))
        reserve(path, path.stat().st_size)
        cache.copy_to(keys, out)
        out.flush()
        pq.write_table(index.table(), draft.folder / INDEX)
        extractor.save(draft.folder)
        draft.counts |= {"samples": len(index.rows), "rows": len(keys)} | ({"cut": cut} if cut else {})
        told = {name: getattr(extractor, name) for name in ("space", "seconds", "cardinalities")}
        draft.settings |= {**extractor.identity(), "num_words": extractor.num_words}
        draft.settings |= {name: value for name, value in told.items() if value}
    freed = evict(params.base.feature_cache_gb * 2**30)
    cuts = f", {cut} longer than {extractor.longest}, cut there" if cut else ""
    say(f"features {name}: {len(keys)} media of {len(index.rows)} samples, {extracted} extracted{cuts}")
    if freed:
        say(f"feature cache: {freed / 2**20:.0f} MB evicted to stay under base.feature_cache_gb")


def _samples(params: Params, name: str, draft: Draft) -> "Iterable[tuple[str, str, list[Medium]]]":
    """Return (sample id, split, media) of all samples; texts that an experiment writes are kept in the draft."""
    from stages.extractors.batches import medium, read_media

    section = params.features[name]
    if section.answers == NONE:
        return read_media(artifact_path("prepare", section.dataset), column_of(section))
    texts = _written(params, name, draft)
    return [(sample_id, split, [medium(sample_id, text)] if text else []) for sample_id, split, text in texts]


def _written(params: Params, name: str, draft: Draft) -> list[tuple[str, str, str | None]]:
    """Let the experiment that the section names write the text of each sample."""
    from stages.models.model import named_bases
    from stages.packaging.answering import greedily, write_answers
    from stages.pretrained.bases import bring

    section = params.features[name]
    trained = artifact_path("train", section.answers)
    draft.settings["answers"] = read_manifest(trained)["settings"]["train_key"]
    bring(trained, named_bases(params.experiments[section.answers], f"experiments.{section.answers}"))
    evaluate = greedily(params.evaluate, section.batch_size)
    texts = write_answers(trained, draft.folder, evaluate, _device(params))
    lacking = sum(text is None for _, _, text in texts)
    say(f"features {name}: {section.answers} wrote {len(texts) - lacking} texts; it said nothing of {lacking} samples")
    return texts


def _nothing(section: Any) -> str:
    """Say why there is nothing to extract."""
    if section.answers != NONE:
        return f"the model of {section.answers} wrote a text of no sample: see its evaluation, or train it longer"
    return f"no sample of {section.dataset} has any {column_of(section)}"


def _extractor(params: Params, name: str) -> "Extractor":
    from stages.extractors import ON_ARRAYS, make_extractor

    section = params.features[name]
    device = None if section.extractor in ON_ARRAYS else _device(params)
    prepared = artifact_path("prepare", section.dataset)
    return make_extractor(section, device, f"features.{name}", prepared)


def _device(params: Params) -> "Device":
    from stages.base.device import set_up

    return set_up(*params.base.hardware())


def explain(params: Params, name: str, sample_id: str) -> None:
    """Say whether the cache holds a sample's features, and if not, why."""
    section = params.features[name]
    media = _media_of(section, name, sample_id)
    if media is None:
        raise InputError(f"data set {section.dataset} has no sample {sample_id!r}")
    identity = _extractor(params, name).identity()
    if not media:
        say(f"{sample_id} has no {column_of(section)}")
    for medium in media:
        say(f"{sample_id}: sha256 of its {column_of(section)} {medium.key.hex()}")
        _explain_medium(medium, identity)


def _media_of(section: Any, name: str, sample_id: str) -> "list[Medium] | None":
    from stages.extractors.batches import medium, read_media

    if section.answers == NONE:
        samples = read_media(artifact_path("prepare", section.dataset), column_of(section))
        return next((found for other, _, found in samples if other == sample_id), None)
    from stages.models.model import read_answers

    read_manifest(folder := artifact_path("features", name))
    text = read_answers(folder).get(sample_id)
    return [medium(sample_id, text)] if text else []


def _explain_medium(medium: "Medium", identity: dict[str, Any]) -> None:
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
    keep_memory()
    main(command)
