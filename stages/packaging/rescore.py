"""Rescore: a trained model's predictions of a prepared test split that it was not evaluated on.

It travels with every model version, so that, when the test data changed, an old version answers with the code it
was trained with:
`python -m stages.packaging.rescore --model <folder> --settings <file> --prepared <folder> --out <file>`.
Nothing of the project is read but the prepared data; features are made in memory by the version's own extractors.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.base.lexicon import read_lexicon
from stages.base.store import SPLITS, read_manifest
from stages.extractors.batches import Index, Medium, extract, read_media
from stages.params.cli import main

if TYPE_CHECKING:
    from stages.extractors import Extractor

TEST = SPLITS[2]


def rescore(model: Path, settings: dict[str, Any], prepared: Path) -> dict[str, list[Any]]:
    """Return the columns of the predictions file of a model folder, as `train` writes it, on new test data.

    Raises:
        InputError: when the data set lacks what the model needs, or is not complete.
    """
    from stages.base.device import set_up
    from stages.extractors import load_extractor
    from stages.models.model import columns_of, load_model, reading_of
    from stages.models.pool import Pool, join_pool
    from stages.models.tables import join_split, read_rows
    from stages.params import BaseParams, EvaluateParams
    from stages.registry.bases import bring_bases

    evaluate = EvaluateParams(**settings["evaluate"])
    device = set_up(*BaseParams(**settings["base"]).hardware())
    bring_bases(model)
    task = load_model(model, device)
    reading = reading_of(task.config.experiment)
    read_manifest(prepared)
    task.lexicon = read_lexicon(prepared)
    splits = SPLITS if isinstance(reading, Pool) else (TEST,)
    rows = [row for split in splits for row in read_rows(prepared, split, ["sample_id", *reading.columns])]
    features = {}
    for modality, column in columns_of(model).items():
        extractor = load_extractor(model / modality, device)
        features[modality] = features_of((prepared, splits), column, extractor, evaluate.batch_size)
    join = join_pool if isinstance(reading, Pool) else join_split
    test = join(reading, TEST, rows, features, device, limit_bytes=0)
    return task.records(task.answer(test, evaluate), test.rows)


def features_of(
    where: tuple[Path, Sequence[str]], column: str, extractor: "Extractor", batch_size: int
) -> tuple[np.ndarray, list[list[int]]]:
    """Return the features of a column's media, equal media once, and each sample's places in them.

    `where` is the prepared data set, and its splits that are read.
    """
    index = Index()

    def media() -> Iterator[Medium]:
        for sample_id, split, found in read_media(where[0], column, list(where[1])):
            known = len(index.row_of)
            index.add(sample_id, split, [medium.key for medium in found])
            new = {medium.key: medium for medium in found if index.row_of[medium.key] >= known}
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
