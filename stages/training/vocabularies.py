"""Weights carried from a model to a new one whose vocabularies may be others: a word's go to the same word.

Which axis of a tensor belongs to a vocabulary is found by building the model once more with one word more.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from stages.base.store import artifact_path
from stages.models.model import build, load_config
from stages.models.tasks import Task
from stages.models.tasks.base import ModelConfig

EXTRACTOR, WORDS = "extractor.json", "vocabulary"
Vocabularies = dict[str, list[str]]  # by column of the prepared rows, and by modality that is read in numbered words


def carry_over(
    task: Task, folder: Path, state: dict[str, Tensor], called: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Put the weights of a trained model in a folder into a new one, as far as their shapes fit.

    Args:
        task: The new model.
        folder: Of the trained one.
        state: Those of its weights that may be taken.
        called: The only vocabularies that matter, and what each is called in the trained model; None: all, by name.

    Returns:
        How many tensors were taken, and in phrases how many words of each vocabulary are new.
    """
    used = task.config.experiment.inputs.used()
    mine = _vocabularies(task.config, {m: artifact_path("features", feature) for m, feature in used.items()})
    config = load_config(folder)
    theirs = _vocabularies(config, {modality: folder / modality for modality in config.features})
    if called is not None:
        mine, theirs = {name: mine[name] for name in called}, {name: theirs[called[name]] for name in called}
    axes, own = _axes(task), task.state_dict()
    taken = {}
    for key in own.keys() & state.keys():
        carried = _carried(own[key], state[key], axes.get(key, []), mine, theirs)
        if carried is not None:
            taken[key] = carried
    task.load_state_dict(own | taken)
    new = {name: len(set(words) - set(theirs.get(name, []))) for name, words in mine.items()}
    return len(taken), [f"{num} of {len(mine[name])} in {name}" for name, num in new.items() if num]


def _vocabularies(config: ModelConfig, extractors: dict[str, Path]) -> Vocabularies:
    numbered = [modality for modality, spec in config.features.items() if spec.num_words]
    words = {m: json.loads((extractors[m] / EXTRACTOR).read_text(encoding="utf8"))[WORDS] for m in numbered}
    return {**config.vocabularies, **words}


def _axes(task: Task) -> dict[str, list[tuple[int, str]]]:
    """Return, by weight, its axes that have a place for each word of a vocabulary."""
    found: dict[str, list[tuple[int, str]]] = {}
    shapes = {key: value.shape for key, value in task.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        for name, config in _larger(task.config):
            for key, value in build(config).state_dict().items():
                grown = [axis for axis, size in enumerate(value.shape) if size != shapes[key][axis]]
                found.setdefault(key, []).extend((axis, name) for axis in grown)
    return found


def _larger(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """Yield the configuration with one word more in each of its vocabularies in turn."""
    for name, words in config.vocabularies.items():
        yield name, dataclasses.replace(config, vocabularies=config.vocabularies | {name: [*words, "\0"]})
    for modality, spec in config.features.items():
        if spec.num_words:
            larger = dataclasses.replace(spec, num_words=spec.num_words + 1)
            yield modality, dataclasses.replace(config, features=config.features | {modality: larger})


def _carried(
    new: Tensor, old: Tensor, axes: list[tuple[int, str]], mine: Vocabularies, theirs: Vocabularies
) -> Tensor | None:
    """Return a new weight with what the old one has of it; None where their shapes do not fit."""
    if not axes:
        return old if old.shape == new.shape else None
    (axis, name), *others = axes
    there = {word: place for place, word in enumerate(theirs.get(name, []))}
    shape = list(new.shape)
    shape[axis] = len(there)
    if others or list(old.shape) != shape or new.shape[axis] != len(mine[name]):
        return None
    known = [place for place, word in enumerate(mine[name]) if word in there]
    wanted = [there[mine[name][place]] for place in known]
    return new.index_copy(axis, torch.tensor(known), old.index_select(axis, torch.tensor(wanted)))
