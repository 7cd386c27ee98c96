"""What a language model as head asks of the rest of params.yaml is said by key, before anything runs."""

import pytest

from stages.base.errors import InputError
from stages.params import load_params
from tests.support.small_data import make_params, write_params

UTF8 = {"dataset": "scenes", "modality": "text", "extractor": "utf8", "max_bytes": 80, "batch_size": 64}
FEATURES = {"features.asked": UTF8 | {"column": "questions"}, "features.said": UTF8 | {"column": "message"}}


def head(**own):
    return {"name": "language_model", "model": "m", **own}


def changes(experiment, **values):
    return FEATURES | {f"experiments.{experiment}.{key.replace('__', '.')}": value for key, value in values.items()}


@pytest.mark.parametrize(
    ("experiment", "values", "message"),
    [
        ("caption", {"head": "language_model"}, "head: got 'language_model'; expected a mapping: {name: language_"),
        ("classify", {"head": "gru"}, "head: got 'gru'; expected 'none'"),
        ("caption", {"head": head(prompt="{")}, "head.prompt: got '{'; expected a text with fields of {image}, "),
        ("caption", {"head": head(prompt="{who}")}, "head.prompt: got '{who}'; expected a text with fields of {image}"),
        ("caption", {"head": head(prompt="{text!r}")}, "head.prompt: got '{text!r}'; expected a text with fields of "),
        ("caption", {"head": head(prompt="{text}")}, "head.prompt: {text} names no input; expected one of image"),
        ("caption", {"head": head(), "train__word_loss": 1.0}, "train.word_loss: got 1.0; expected 0 with a language"),
        (
            "caption",
            {"head": head(train="frozen", gradient_checkpointing=True), "train__word_loss": 0.0},
            "head.gradient_checkpointing: got true; expected false with train: frozen",
        ),
        ("vqa", {"head": head(prompt="?")}, "head.prompt: got '?'; expected one with {question}, as the task is vqa"),
        (
            "vqa",
            {"head": head(prompt="{question}")},
            "inputs.question: got 'scenes-question', of the extractor tokens; the prompt reads texts as they are",
        ),
        (
            "vqa",
            {"head": head(prompt="{image}{question}"), "inputs__question": "asked"},
            "inputs.image: got 'scenes-image', of the extractor pixels; the prompt reads what the language model's own",
        ),
    ],
)
def test_a_mistake_is_a_line_with_its_key(tmp_path, experiment, values, message):
    path = write_params(tmp_path / "params.yaml", changes(experiment, **values))
    with pytest.raises(InputError) as caught:
        load_params(path)
    assert f"  experiments.{experiment}.{message}" in str(caught.value)


def test_what_the_prompt_names_has_no_encoder(tmp_path):
    own = {"head": head(prompt="{text} is a"), "inputs__text": "said", "init": "none", "encoders__text": "none"}
    classify = make_params(tmp_path, changes("classify", **own)).experiments["classify"]
    assert classify.prompted() == ("text",)
    assert classify.encoded() == ("image", "audio")
    assert list(classify.bases()) == ["head"]
