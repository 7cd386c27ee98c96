"""What a training begins with beside chance: the trained encoders of another experiment, where they fit.

An encoder fits when name and dim are the same, its features are made alike (by the same extractor, with the same
vocabulary), and its weights have the same names and shapes.
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
from stages.models.tasks import Task
from stages.params import NONE, ExperimentBase, differing

EXTRACTOR = "extractor.json"


def kept_of(start: dict[str, Path]) -> dict[str, Any]:
    """Return what a trained model's manifest keeps of its start: the digest of the weights, by name."""
    weights = {name: read_manifest(folder)["files"][WEIGHTS]["sha256"] for name, folder in start.items()}
    return {"init": weights} if weights else {}


def take_encoders(task: Task, name: str, other: str, folder: Path) -> str:
    """Put another experiment's trained encoders in the place of a new task's, and return in a line which.

    Raises:
        InputError: when none fits, with the reason for each.
    """
    state, there, mine = load_file(folder / WEIGHTS), load_config(folder).experiment, task.config.experiment
    taken, left = [], []
    for modality, encoder in getattr(task, "encoders", {}).items():
        source = mine.source_of(modality, there)
        weights = _under(state, f"encoders.{source}.")
        reason = differing(mine, there, modality) or _unlike(mine.inputs.used()[modality], folder, source)
        if reason := reason or _misshapen(encoder, weights) or _other_heads(encoder, mine, there):
            left.append(f"{modality}: {reason}")
        else:
            encoder.load_state_dict(weights)
            taken.append(modality)
    if not taken:
        raise InputError(
            f"experiments.{name}.init: nothing of {other} fits ({'; '.join(left)}); "
            f"make these the same for one encoder, or set it to {NONE}"
        )
    not_taken = f"; not that of {'; '.join(left)}" if left else ""
    return f"starts with {other}'s encoder of {' and '.join(taken)}{not_taken}"


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _unlike(feature: str, trained: Path, source: str) -> str:
    """Say in what features differ from those that a trained model's encoder read; empty where in nothing."""
    here = artifact_path("features", feature)
    mine, theirs = (json.loads((folder / EXTRACTOR).read_text("utf8")) for folder in (here, trained / source))
    keys = sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key))
    if keys:
        return f"its features have another {' and '.join(keys)}"
    same = _extractor_files(here, "") == _extractor_files(trained, f"{source}/")
    return "" if same else "its features are made with other weights"


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
