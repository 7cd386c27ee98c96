"""Rescore: a trained model's predictions of a prepared test split that it was not evaluated on.

It travels with every model version, so that, when the test data changed, an old version answers with the code it
was trained with:
`python -m stages.packaging.rescore --model <folder> --settings <file> --prepared <folder> --out <file>`.
Nothing of the project is read but the prepared data; features are made in memory by the version's own extractors.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.base.lexicon import read_lexicon
from stages.base.store import SPLITS, read_manifest
from stages.extractors.batches import Index, Medium, extract, medium, read_media
from stages.params.cli import main

if TYPE_CHECKING:
    from stages.base.device import Device
    from stages.extractors import Extractor
    from stages.models.tables import Reading, Split

TRAIN, TEST = SPLITS[0], SPLITS[2]


def rescore(model: Path, settings: dict[str, Any], prepared: Path) -> dict[str, list[Any]]:
    """Return the columns of the predictions file of a model folder, as `train` writes it, on new test data.

    Raises:
        InputError: when the data set lacks what the model needs, or is not complete.
    """
    from stages.base.device import set_up
    from stages.models.model import load_model, reading_of
    from stages.params import BaseParams, EvaluateParams
    from stages.registry.bases import bring_bases

    evaluate = EvaluateParams(**settings["evaluate"])
    device = set_up(*BaseParams(**settings["base"]).hardware())
    bring_bases(model)
    task = load_model(model, device)
    read_manifest(prepared)
    task.lexicon = read_lexicon(prepared)
    reading = reading_of(task.config.experiment)
    if task.studies:
        task.study(_read((model, prepared), reading, TRAIN, evaluate, device))
    test = _read((model, prepared), reading, TEST, evaluate, device)
    return task.records(task.answer(test, evaluate), test.rows)


def _read(places: tuple[Path, Path], reading: "Reading", split: str, evaluate: Any, device: "Device") -> "Split":
    """Return a split as a model's own extractors, and models that write for it, make it; `places`: model and data."""
    from stages.extractors import load_extractor
    from stages.models.model import answering_of, columns_of
    from stages.models.pool import Pool, join_pool, with_users
    from stages.models.tables import join_split, read_rows
    from stages.packaging.answering import greedily

    model, prepared = places
    pooled = isinstance(reading, Pool)
    parts = {
        part: read_rows(prepared, part, ["sample_id", *reading.columns]) for part in (SPLITS if pooled else (split,))
    }
    columns, features = columns_of(model), {}
    samples: Iterable[tuple[str, str, list[Medium]]]
    for modality in reading.inputs:
        extractor = load_extractor(model / modality, device)
        answering = answering_of(model / modality)
        if answering:
            greedy = greedily(evaluate, evaluate.batch_size)
            samples = []
            for part, rows in parts.items():
                texts = _written((answering, prepared), part, greedy, device)
                ids = [row["sample_id"] for row in rows]
                samples += [(i, part, [medium(i, texts[i])] if i in texts else []) for i in ids]
        else:
            samples = read_media(prepared, columns[modality], list(parts))
        features[modality] = features_of(samples, extractor, evaluate.batch_size)
    whole = [row for rows in parts.values() for row in rows]
    if pooled:
        return join_pool(reading, split, with_users(prepared, whole), features, device, limit_bytes=0)
    return join_split(reading, split, whole, features, device, limit_bytes=0)


def _written(places: tuple[Path, Path], split: str, evaluate: Any, device: "Device") -> dict[str, str]:
    from stages.models.model import load_model, reading_of
    from stages.packaging.answering import texts_of

    task = load_model(places[0], device)
    reading = dataclasses.replace(reading_of(task.config.experiment), columns=(), needed=())
    return texts_of(task, _read(places, reading, split, evaluate, device), evaluate)


def features_of(
    samples: Iterable[tuple[str, str, list[Medium]]], extractor: "Extractor", batch_size: int
) -> tuple[np.ndarray, list[list[int]]]:
    """Return the features of (sample id, split, media), equal media once, and each sample's places in them."""
    index = Index()

    def media() -> Iterator[Medium]:
        for sample_id, split, found in samples:
            known = len(index.row_of)
            index.add(sample_id, split, [one.key for one in found])
            new = {one.key: one for one in found if index.row_of[one.key] >= known}
            yield from new.values()

    batches = [features for _, features in extract(media(), extractor, batch_size)]
    nothing = np.zeros((0, *extractor.shape), extractor.dtype)
    return np.concatenate([nothing, *batches]), index.rows


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parser = argparse.ArgumentParser(
        prog="python -m stages.packaging.rescore", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="a model folder, as the stage train writes it")
    parser.add_argument("--settings", type=Path, required=True, help="JSON of the sections base and evaluate")
    parser.add_argument("--prepared", type=Path, required=True, help="artifacts/prepare/<data set>")
    parser.add_argument("--out", type=Path, required=True, help="the predictions file to write")
    args = parser.parse_args(argv)
    settings = json.loads(args.settings.read_text(encoding="utf8"))
    pq.write_table(pa.table(rescore(args.model, settings, args.prepared)), args.out)


if __name__ == "__main__":
    main(command)
