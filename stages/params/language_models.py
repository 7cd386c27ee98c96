"""What a language model as head asks of the rest of params.yaml, held before anything runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.params.experiments import ExperimentBase, LanguageModelParams
from stages.params.features import FeaturesParams, Utf8Params

TEXTS = ("text", "question")


def language_model_faults(
    key: str, experiment: ExperimentBase, features: Mapping[str, FeaturesParams], default_word_loss: float
) -> Iterator[str]:
    """Yield a line for each value of an experiment, whose section is `key`, that its language model cannot do with."""
    head: Any = getattr(experiment, "head", None)
    if not isinstance(head, LanguageModelParams):
        return
    used, task = experiment.inputs.used(), getattr(experiment, "task", "")
    word_loss = experiment.train.get("word_loss", default_word_loss)
    if task in ("caption", "vqa") and word_loss:
        yield (
            f"  {key}.train.word_loss: got {word_loss!r}; expected 0 with a language model as head, whose pieces are "
            "no words"
        )
    if head.gradient_checkpointing and head.train == "frozen":
        yield f"  {key}.head.gradient_checkpointing: got true; expected false with train: frozen, which keeps little"
    for needed in (modality for modality in experiment.needs if modality not in head.fields()):
        yield f"  {key}.head.prompt: got {head.prompt!r}; expected one with {{{needed}}}, as the task is {task}"
    for field in head.fields():
        if field not in used:
            yield f"  {key}.head.prompt: {{{field}}} names no input; expected one of {', '.join(used)}"
            continue
        found = features.get(used[field])
        if found is None:
            continue  # which is said elsewhere
        if field in TEXTS and not isinstance(found, Utf8Params):
            yield (
                f"  {key}.inputs.{field}: got {used[field]!r}, of the extractor {found.extractor}; the prompt reads "
                "texts as they are: expected features of the extractor utf8"
            )
        if field not in TEXTS and found.extractor != "huggingface":
            yield (
                f"  {key}.inputs.{field}: got {used[field]!r}, of the extractor {found.extractor}; the prompt reads "
                "what the language model's own encoder sees: expected the extractor huggingface with the same model"
            )
