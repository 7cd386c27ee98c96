"""Train: a fusion model from cached features, to the best epoch on the validation split.

A killed training goes on from its last epoch and ends with the same bytes. With `train.devices` above one,
Lightning starts this command once more for each further device; such a follower computes and writes nothing.
"""

import os
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.base.errors import InputError
from stages.base.store import CURVES, SCRATCH, SPLITS, artifact_path, say, writing
from stages.params import NONE, ExperimentBase, Params, column_of
from stages.params.cli import main, run_named, stage_parser
from stages.training.key import start_of, training_key

if TYPE_CHECKING:
    from stages.base.device import Device
    from stages.models.targets import Splits
    from stages.models.tasks.base import ModelConfig
    from stages.pretrained.bases import Base
    from stages.training.fit import Fitted

CHECKPOINTS = SCRATCH / "checkpoints"


def run(params: Params, name: str) -> None:
    """Train one experiment."""
    experiment = params.experiments[name]
    inputs = experiment.inputs.used()
    used = {
        "experiment": experiment.model_dump(),
        "train": params.train_of(name).model_dump(),
        "base": params.base.model_dump(include={"device", "precision", "threads"}),
    }
    bases = _bases(name, experiment, used)
    start = start_of(name, experiment)
    if _is_follower():
        _fit(params, name, training_key(used, experiment.dataset, inputs, start), used, bases)
        return
    with writing("train", name, used) as draft:
        from stages.models.model import save_model
        from stages.training.curves import write_curves
        from stages.training.start import kept_of

        key = training_key(used, experiment.dataset, inputs, start)
        fitted, config, counts = _fit(params, name, key, used, bases)
        assert fitted is not None
        folders = {modality: artifact_path("features", feature) for modality, feature in inputs.items()}
        read = {modality: params.features[feature] for modality, feature in inputs.items()}
        columns = {modality: column_of(section) for modality, section in read.items() if section.answers == NONE}
        save_model(draft.folder, config, fitted.weights, folders, columns)
        _keep_beside(params, name, draft.folder)
        write_curves(draft.folder / CURVES, fitted.curves)
        draft.settings |= {"train_key": key, "best_epoch": fitted.best_epoch, "precision": fitted.precision}
        draft.settings |= kept_of(start)
        draft.counts |= {
            "epochs": len(fitted.curves),
            "parameters": sum(value.numel() for value in fitted.weights.values()),
            **counts,
        }
    shutil.rmtree(CHECKPOINTS / name, ignore_errors=True)
    say(f"train {name}: best epoch {fitted.best_epoch + 1} of {len(fitted.curves)}")


def _keep_beside(params: Params, name: str, folder: Path) -> None:
    """Let a task whose samples are one pool write what it needs of that in service."""
    from stages.base.device import set_up
    from stages.models.model import load_model, reading_of
    from stages.models.pool import load
    from stages.models.tasks import task_of

    if task_of(params.experiments[name]).pooled:
        device = set_up(*params.base.hardware())
        task = load_model(folder, device)
        task.keep_beside(folder, load(reading_of(params.experiments[name]), SPLITS[0], device, limit_bytes=0))


def _is_follower() -> bool:
    return int(os.environ.get("LOCAL_RANK", 0)) > 0  # set by Lightning


def _fit(
    params: Params, name: str, key: str, used: dict[str, Any], bases: dict[str, "Base"]
) -> tuple["Fitted | None", "ModelConfig", dict[str, int]]:
    """Return the finished training (None in a follower), what builds its model, and the samples of each split."""
    from stages.base.device import set_up
    from stages.base.lexicon import read_lexicon
    from stages.base.tracking import LiveRun
    from stages.models.model import build, config_of, keep_bases, load_pretrained, reading_of
    from stages.models.pool import load
    from stages.training.fit import Setting, fit
    from stages.training.start import begin

    experiment, train = params.experiments[name], params.train_of(name)
    device = set_up(*params.base.hardware(), train.seed)
    reading = reading_of(experiment)
    limit_bytes = train.device_cache_gb * 2**30
    splits = {split: load(reading, split, device, limit_bytes) for split in SPLITS[:2]}
    config = config_of(experiment, splits[SPLITS[0]].rows, bases)
    if not _is_follower():
        _check_targets(name, config, splits | {SPLITS[2]: load(reading, SPLITS[2], device, 0)}, train.batch_size)
    task = build(config)
    if not _is_follower():
        keep_bases(config)
    load_pretrained(task, f"experiments.{name}")
    if task.studies and train.monitor == "score":
        task.lexicon = read_lexicon(artifact_path("prepare", experiment.dataset))
        task.study(splits[SPLITS[0]])
    begins = start_of(name, experiment)
    told = begin(task, name, begins) if begins else ""
    task.take_in(splits[SPLITS[0]])
    live = None if _is_follower() else LiveRun(name, key, used)
    if not _is_follower():
        for line in filter(None, [told, task.cut(splits[SPLITS[0]].rows)]):
            say(f"train {name}: {line}")
    setting = Setting(train, device, _checkpoint_folder(name, key))
    start = time.monotonic()
    fitted = fit(task, splits, setting, live)
    if fitted:
        say(f"train {name}: fitted in {time.monotonic() - start:.1f} s, {_peak_mb(device)} MB at the peak")
    return fitted, config, {split: len(rows) for split, rows in splits.items()}


def _bases(name: str, experiment: ExperimentBase, used: dict[str, Any]) -> dict[str, "Base"]:
    """Return the pretrained models that the experiment stands on; note in `used` which they are."""
    if not experiment.bases():
        return {}
    from stages.models.model import find_bases

    found = find_bases(experiment, f"experiments.{name}")
    used["bases"] = {place: base.reference.digest for place, base in found.items() if base.reference}
    return found


def _check_targets(name: str, config: "ModelConfig", splits: "Splits", batch_size: int) -> None:
    """Say what is odd about what is to be learnt.

    Raises:
        InputError: when nothing can be learnt from it, a line for each fault.
    """
    from stages.models.targets import input_faults
    from stages.models.tasks import task_of

    experiment = config.experiment
    faults = [
        *task_of(experiment).faults(config, splits),
        *input_faults(experiment.dataset, splits[SPLITS[0]], batch_size),
    ]
    fatal = [f"train {name}: {fault.text}" for fault in faults if fault.fatal]
    if fatal:
        raise InputError("\n".join(fatal))
    for fault in faults:
        say(f"train {name}: {fault.text}")


def _peak_mb(device: "Device") -> int:
    """Return the most memory used so far: of the GPU where there is one, else of this process."""
    if device.is_cuda:
        import torch

        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def _checkpoint_folder(name: str, key: str) -> Path:
    """Return the folder of this very training; those of others under the same name are removed."""
    folder = CHECKPOINTS / name / key[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run_named(stage_parser("train", __doc__).parse_args(argv), "experiments", run)


if __name__ == "__main__":
    main(command)
