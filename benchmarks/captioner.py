"""What the benchmarks of a trained captioner share: its model, its test split, its command line."""

from collections.abc import Callable, Sequence

from benchmarks.timing import bench_parser
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.store import SPLITS, artifact_path, read_manifest
from stages.models.tables import Split, load_split
from stages.models.tasks.caption import CaptionTask
from stages.params import CaptionParams, Params
from stages.params.cli import run_named


def open_captioner(params: Params, name: str) -> tuple[CaptionTask, Split, Device]:
    """Return a trained experiment's model, its test split, and the device they are on.

    Raises:
        InputError: when the experiment is no captioning one, or is not trained.
    """
    from stages.models.model import load_model, reading_of

    experiment = params.experiments[name]
    if not isinstance(experiment, CaptionParams):
        raise InputError(f"{name} is no captioning experiment")
    read_manifest(artifact_path("train", name))
    device = set_up(*params.base.hardware())
    task = load_model(artifact_path("train", name), device)
    assert isinstance(task, CaptionTask)
    return task, load_split(reading_of(experiment), SPLITS[2], device, 2**30), device


def run(
    benchmark: str,
    doc: str | None,
    num_images: int,
    measure: Callable[[Params, str, int, int], None],
    argv: Sequence[str] | None,
) -> None:
    """Run a benchmark from the command line: `measure(params, experiment, images, rounds)`."""
    parser = bench_parser(benchmark, doc, "a trained captioning experiment of params.yaml")
    parser.add_argument("--images", type=int, default=num_images)
    args = parser.parse_args(argv)
    run_named(args, "experiments", lambda params, name: measure(params, name, args.images, args.rounds))
