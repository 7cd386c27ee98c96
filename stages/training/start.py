"""What a training begins with beside chance: another experiment's trained parts, or its own champion's weights.

An encoder fits when name and dim are the same, its features are made alike (by the same extractor, with the same
vocabulary), and its weights have the same names and shapes. A decoder fits when head, dim, layers and heads are the
same; the words it knows may be others. Of the own champion the vocabularies may be others: what belongs to a word, a
label or an answer is taken by its name.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.base.store import artifact_path, read_manifest
from stages.models.encoders.masked_attention import MaskedAttention
from stages.models.model import NOT_OF_THE_EXTRACTOR, WEIGHTS, load_config
from stages.models.tasks import TASKS, Task
from stages.params import NONE, ExperimentBase, differing
from stages.training.key import Start
from stages.training.vocabularies import EXTRACTOR, WORDS, carry_over

DECODER = "decoder."
NOT_OF_THE_MODEL = {"dataset", "inputs", "encoders", "dropout", "modality_dropout", "train", "init", "label_prompts"}
NOT_OF_THE_MODEL |= {"class_weights", "focal_gamma", "loss", "coverage"}


def kept_of(start: Start | None) -> dict[str, Any]:
    """Return what a trained model's manifest keeps of its start: whose weights, and their digest."""
    if start is None:
        return {}
    weights = read_manifest(start.folder)["files"][WEIGHTS]["sha256"]
    version = {} if start.version is None else {"version": start.version}
    return {"init": {"init": start.experiment, **version, "weights": weights}}


def begin(task: Task, name: str, start: Start) -> str:
    """Put trained weights in the place of a new task's, and return in a line what was taken and what was not.

    Raises:
        InputError: when nothing of another experiment fits, with the reasons; when this code cannot read the model.
    """
    try:
        state, there = load_file(start.folder / WEIGHTS), load_config(start.folder).experiment
    except (ValueError, LookupError) as error:
        raise InputError(
            f"{start.folder}: this code cannot read the model to start from ({str(error).splitlines()[0]}); to start "
            f"from nothing: python -m stages.register {name} --start none"
        ) from None
    if start.version is not None:
        return _go_on(task, start, state, there)
    fitting, left = _encoders(task, start.folder, state, there)
    if not fitting:
        raise InputError(
            f"experiments.{name}.init: nothing of {start.experiment} fits ({'; '.join(left)}); "
            f"make these the same for one encoder, or set it to {NONE}"
        )
    for modality, weights in fitting.items():
        _parts(task)[modality].load_state_dict(weights)
    told = [f"starts with {start.experiment}'s encoder of {' and '.join(fitting)}"]
    told += [f"not that of {'; '.join(left)}"] if left else []
    return "; ".join([*told, *_decoder(task, start.folder, state, there)])


def _parts(task: Task) -> nn.ModuleDict:
    """Return a task's encoders by modality."""
    encoders = getattr(task, "encoders", nn.ModuleDict())
    assert isinstance(encoders, nn.ModuleDict)
    return encoders


def _go_on(task: Task, start: Start, state: dict[str, Tensor], there: ExperimentBase) -> str:
    """Take what fits of an own version: encoders each by itself, the rest if the model is built alike."""
    left = []
    for modality in _parts(task):
        if reason := _reason(task, start.folder, there, modality, but=(WORDS,)):
            state = {key: value for key, value in state.items() if not key.startswith(f"encoders.{modality}.")}
            left.append(f"that of {modality}: {reason}")
    mine, theirs = (of.model_dump(exclude=NOT_OF_THE_MODEL) for of in (task.config.experiment, there))
    if odd := sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key)):
        state = {key: value for key, value in state.items() if key.startswith("encoders.")}
        left.append(f"what is no encoder: another {' and '.join(odd)}")
    num, new = carry_over(task, start.folder, state)
    told = [f"new words: {', '.join(new)}"] if new else []
    told += [f"not {'; '.join(left)}"] if left else []
    head = f"starts with {num} of {len(task.state_dict())} weights of its version {start.version}"
    return "; ".join([head, *told])


def _encoders(
    task: Task, folder: Path, state: dict[str, Tensor], there: ExperimentBase
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Return by modality the trained encoders that fit, and for each of the others why it does not."""
    fitting, left = {}, []
    for modality, encoder in _parts(task).items():
        prefix = f"encoders.{task.config.experiment.source_of(modality, there)}."
        weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if reason := _reason(task, folder, there, modality) or _misshapen(encoder, weights):
            left.append(f"{modality}: {reason}")
        else:
            fitting[modality] = weights
    return fitting, left


def _decoder(task: Task, folder: Path, state: dict[str, Tensor], there: ExperimentBase) -> list[str]:
    """Put a trained decoder in the place of a new task's, where both have one; return in a phrase what was taken."""
    mine, odd = task.config.experiment, []
    if not hasattr(task, "decoder") or not any(key.startswith(DECODER) for key in state):
        return []
    for key in ("head", "dim", "layers", "attention_heads"):
        if (theirs := getattr(there, key)) != (own := getattr(mine, key)):
            odd.append(f"its {key} is {theirs}, here {own}")
    if odd:
        return [f"not its decoder: {', '.join(odd)}"]
    weights = {key: value for key, value in state.items() if key.startswith(DECODER)}
    num, new = carry_over(task, folder, weights, {task.spoken: TASKS[there.task].spoken})
    return [f"with {num} of {len(weights)} weights of its decoder", *(f"new words: {phrase}" for phrase in new)]


def _reason(task: Task, folder: Path, there: ExperimentBase, modality: str, but: tuple[str, ...] = ()) -> str:
    """Say why an encoder cannot begin as that of a trained model, shapes aside; empty where it can."""
    mine = task.config.experiment
    if reason := differing(mine, there, modality):
        return reason
    source = mine.source_of(modality, there)
    return _unlike(mine.inputs.used()[modality], folder, source, but) or _other_heads(
        _parts(task)[modality], mine, there
    )


def _unlike(feature: str, trained: Path, source: str, but: tuple[str, ...]) -> str:
    """Say in what features differ from those that a trained model's encoder read; empty where in nothing."""
    here = artifact_path("features", feature)
    mine, theirs = (json.loads((folder / EXTRACTOR).read_text("utf8")) for folder in (here, trained / source))
    odd = {key for key in mine | theirs if mine.get(key) != theirs.get(key)}
    if odd - {*but}:
        return f"its features have another {' and '.join(sorted(odd))}"
    files = _extractor_files(here, ""), _extractor_files(trained, f"{source}/")
    return "" if odd or "files_digest" in mine or files[0] == files[1] else "its features are made with other weights"


def _extractor_files(artifact: Path, prefix: str) -> dict[str, str]:
    """Return the digests of an extractor's files in an artifact, by their names below a prefix."""
    files = read_manifest(artifact)["files"]
    found = {name.removeprefix(prefix): file["sha256"] for name, file in files.items() if name.startswith(prefix)}
    return {name: sha256 for name, sha256 in found.items() if name not in NOT_OF_THE_EXTRACTOR}


def _misshapen(encoder: nn.Module, weights: dict[str, Tensor]) -> str:
    """Say that weights are of an encoder built otherwise, such as with more layers; empty where they are not."""
    mine, theirs = ({key: list(value.shape) for key, value in of.items()} for of in (encoder.state_dict(), weights))
    odd = sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key))
    return f"its layers are others, such as {odd[0]}: {theirs.get(odd[0])}, here {mine.get(odd[0])}" if odd else ""


def _other_heads(encoder: nn.Module, mine: ExperimentBase, other: ExperimentBase) -> str:
    """Say that an encoder that attends does so with other heads: its shapes do not tell."""
    attends = any(isinstance(part, MaskedAttention) for part in encoder.modules())
    if mine.attention_heads == other.attention_heads or not attends:
        return ""
    return f"its attention_heads is {other.attention_heads}, here {mine.attention_heads}"
