"""Features made once and shared by all experiments, against features made for each experiment.

The contenders do the work of the stage `features` from an empty cache:

- `shared`: each feature that any experiment reads, once;
- `per experiment`: each experiment's features, experiment by experiment.

Run: `python -m benchmarks.shared_features`, after `prepare`
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.timing import bench_parser, show, show_machine, take_turns
from stages.base.device import set_up
from stages.base.store import artifact_path
from stages.cache.segments import FeatureCache
from stages.extractors import extractor as extractor_of
from stages.extractors.batches import read_media
from stages.features import extract_missing
from stages.params import Params, column_of, load_params
from stages.params.cli import main


def extract(params: Params, names: Iterable[str]) -> None:
    """Extract these features, each from an empty cache."""
    for name in names:
        section = params.features[name]
        prepared = artifact_path("prepare", section.dataset)
        extractor = extractor_of(section.extractor).from_params(
            section, set_up(*params.base.hardware()), f"features.{name}", prepared
        )
        media = (medium for _, _, found in read_media(prepared, column_of(section)) for medium in found)
        with tempfile.TemporaryDirectory() as folder:
            extract_missing(media, extractor, FeatureCache(extractor.identity(), Path(folder)), section)


def measure(params: Params, rounds: int) -> None:
    """Measure all experiments of params.yaml."""
    wanted = [name for experiment in params.experiments.values() for name in experiment.inputs.used().values()]
    show_machine(set_up(*params.base.hardware()))
    contenders = {
        "shared": lambda: extract(params, dict.fromkeys(wanted)),
        "per experiment": lambda: extract(params, wanted),
    }
    timings = take_turns(contenders, rounds)
    title = f"{len(params.experiments)} experiments, {len(wanted)} inputs, {len(set(wanted))} features"
    show(title, timings, (len(params.experiments), "experiment"))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    args = bench_parser("shared_features", __doc__).parse_args(argv)
    measure(load_params(args.params), args.rounds)


if __name__ == "__main__":
    main(command)
