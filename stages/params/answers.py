"""Texts that another experiment writes: `answers` of a section of `features`."""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.params.experiments import ExperimentBase
from stages.params.features import column_of
from stages.params.inits import chain
from stages.params.section import NONE

ANSWERED = {"caption": "caption", "classify": "label", "transcribe": "transcript"}
"""By task, which of its answers is a text of each sample."""


def answers_faults(features: Mapping[str, Any], experiments: Mapping[str, ExperimentBase]) -> Iterator[str]:
    """Yield what keeps an experiment's answers from standing for texts: of each section of features, and where read."""
    for name, section in features.items():
        if section.answers == NONE:
            continue
        key = f"  features.{name}.answers: got {section.answers!r}"
        fitting = [
            other
            for other, experiment in experiments.items()
            if experiment.dataset == section.dataset
            and experiment.task in ANSWERED
            and "text" not in experiment.inputs.used()
        ]
        if section.modality != "text":
            yield f"{key}; answers are texts, and these features are {section.modality}"
        elif section.answers not in fitting:
            yield (
                f"{key}; expected an experiment of {section.dataset} that writes texts ({', '.join(ANSWERED)}) and "
                f"reads none: {', '.join([*fitting, NONE])}"
            )
    for name, experiment in experiments.items():
        for modality in answering(experiment, features):
            key = f"  experiments.{name}.inputs.{modality}: got {experiment.inputs.used()[modality]!r}"
            if modality == "question":
                yield f"{key}, texts that an experiment writes; expected questions of the source"
            elif experiment.task == "retrieve":
                yield f"{key}, texts that an experiment writes; the task retrieve searches in those of the source"
    yield from _circles(experiments, features)


def answering(experiment: ExperimentBase, features: Mapping[str, Any]) -> dict[str, str]:
    """Return, by modality, the experiment whose answers this one reads."""
    found = {modality: features.get(name) for modality, name in experiment.inputs.used().items()}
    return {modality: f.answers for modality, f in found.items() if f is not None and f.answers != NONE}


def _circles(experiments: Mapping[str, ExperimentBase], features: Mapping[str, Any]) -> Iterator[str]:
    """Yield experiments that read the answers of one that starts, in the end, from themselves."""
    inits = {name: experiment.init for name, experiment in experiments.items()}
    for name, experiment in experiments.items():
        for other in answering(experiment, features).values():
            if name in chain(inits, other):
                yield f"  experiments.{name}.inputs: {other}, whose answers it reads, starts from it (init)"


def trained_for(name: str, experiments: Mapping[str, ExperimentBase], features: Mapping[str, Any]) -> list[str]:
    """Return the experiments that are trained for one, in order.

    Those whose weights it starts from, and those whose answers it and they read; then itself.
    """
    inits = {other: experiment.init for other, experiment in experiments.items()}
    found: dict[str, None] = {}
    for started in [*reversed(chain(inits, name)), name]:
        for asked in answering(experiments[started], features).values():
            found |= dict.fromkeys(trained_for(asked, experiments, features))
        found[started] = None
    return list(found)


def given_columns(name: str, experiments: Mapping[str, ExperimentBase], features: Mapping[str, Any]) -> dict[str, str]:
    """Return, by modality, the prepared column of what a person gives who asks an experiment's model.

    In the place of texts that another experiment writes stands what that one reads.
    """
    asked = answering(experiments[name], features)
    used = {m: features[experiments[name].inputs.used()[m]] for m in experiments[name].given() if m not in asked}
    found = {modality: column_of(section) for modality, section in used.items()}
    for other in asked.values():
        found |= {m: column for m, column in given_columns(other, experiments, features).items() if m not in found}
    return found
