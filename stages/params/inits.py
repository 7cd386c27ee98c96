"""Which experiment another one starts from: held before anything runs, as far as params.yaml alone tells."""

from collections.abc import Iterator, Mapping

from stages.params.experiments import ExperimentBase
from stages.params.section import NONE


def chain(inits: Mapping[str, str], name: str) -> list[str]:
    """Return an experiment's names to start from, nearest first; in a circle, up to the first that comes again."""
    found = [name]
    while (before := inits.get(found[-1], NONE)) != NONE:
        found.append(before)
        if before in found[:-1]:
            break
    return found[1:]


def wrong_inits(inits: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each experiment that starts from one that is not there, or from itself in the end."""
    for name, init in inits.items():
        key, others = f"  experiments.{name}.init: got {init!r}", [other for other in inits if other != name]
        if init == name or (init != NONE and init not in inits):
            yield f"{key}; expected one of {', '.join([*others, NONE])}"
        elif name in (circle := chain(inits, name)):
            yield f"{key}, which starts from {' from '.join(circle[1:])} in turn; set one of these to {NONE}"


def unfit_inits(experiments: Mapping[str, ExperimentBase]) -> Iterator[str]:
    """Yield a line for each experiment that can take no encoder of the one that it starts from."""
    for name, mine in experiments.items():
        other = experiments.get(mine.init)
        if other is None or any(not differing(mine, other, modality) for modality in mine.encoded()):
            continue
        told = [f"{modality}: {differing(mine, other, modality)}" for modality in mine.encoded()]
        yield (
            f"  experiments.{name}.init: nothing of {mine.init} fits ({'; '.join(told)}); "
            f"make one encoder and dim of both the same, or set it to {NONE}"
        )


def differing(mine: ExperimentBase, other: ExperimentBase, modality: str) -> str:
    """Say why a modality's encoder cannot begin as another experiment's; empty where the params allow it."""
    source = mine.source_of(modality, other)
    if source == NONE:
        return f"it has no {modality}"
    here, there = getattr(mine.encoders, modality), getattr(other.encoders, source)
    if here != there:
        return f"its encoders.{source} is {_shown(there)}, here {_shown(here)}"
    return "" if mine.dim == other.dim else f"its dim is {other.dim}, here {mine.dim}"


def _shown(encoder: object) -> str:
    return encoder if isinstance(encoder, str) else str(getattr(encoder, "backbone", encoder))
