"""Weights that models of one process share: of each base those that stay frozen lie in memory once.

A model gets modules of its own, so that LoRA can be put into them, around the tensors of the first one. They are let go
with the last model that stands on them.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from weakref import WeakValueDictionary

import torch
from torch import nn

from stages.pretrained import bases

PROCESS = "_fuseline_shared_bases"  # a module that the code of all versions in one server finds


class _Kept:
    """The model that was read from the files; whoever uses its weights holds it."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def read(folder: Path, part: str, reader: Callable[[Path], Any], shared_on: torch.device | None) -> Any:
    """Return what `reader` makes of a base's folder, whose files are verified first.

    With a device it is there, and its weights are those of all others in this process that asked for the same part of
    the same base; whoever lets some of them learn, or loads into them, calls `own` first.

    Raises:
        InputError: when a file is missing or changed.
    """
    reference = bases.read_reference(folder)
    if reference is None or shared_on is None:
        bases.verify(folder)
        return reader(folder).to(shared_on)
    key, known = (reference.digest, part, str(shared_on)), _known()
    kept = known.get(key)
    bases.verify(folder, weights=kept is None)
    if kept is None:
        kept = known[key] = _Kept(reader(folder).to(shared_on))
    memo = {id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in kept.model.parameters()}
    model = copy.deepcopy(kept.model, memo)  # type: ignore[arg-type]
    model.kept = kept
    return model


def is_shared(model: Any) -> bool:
    """Tell whether a model stands on weights of others."""
    return hasattr(model, "kept")


def own(weight: nn.Parameter) -> None:
    """Give a model a copy of a weight that it shares."""
    weight.data = weight.data.clone()


def _known() -> WeakValueDictionary[tuple[str, str, str], _Kept]:
    module = sys.modules.setdefault(PROCESS, ModuleType(PROCESS))
    return module.__dict__.setdefault("known", WeakValueDictionary())
