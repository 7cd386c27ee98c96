"""Texts that another experiment writes: who may write them, who is trained for whom, and what a person gives."""

from typing import Any

import pytest

from stages.base.errors import InputError
from stages.params import Params
from tests.conftest import HEARD, OTHER_TASKS
from tests.support.small_data import make_params

HEAR = {"experiments.transcribe", "features.scenes-speech", "features.scenes-heard", "experiments.hear"}


def params_of(tmp_path: Any, changes: dict[str, Any]) -> Params:
    return make_params(tmp_path, {key: OTHER_TASKS[key] for key in sorted(HEAR)} | changes)


def test_who_writes_is_trained_first_and_its_inputs_are_what_a_person_gives(tmp_path):
    params = params_of(tmp_path, {"experiments.vqa.init": "caption"})
    assert params.trained_for("hear") == ["transcribe", "hear"] and params.trained_for("vqa") == ["caption", "vqa"]
    assert params.answering("hear") == {"text": "transcribe"} and params.answering("transcribe") == {}
    assert params.given_columns("hear") == {"audio": "audio"}
    both = params_of(
        tmp_path, {"experiments.hear.inputs.image": "scenes-image", "experiments.hear.encoders.image": "cnn"}
    )
    assert both.given_columns("hear") == {"image": "image", "audio": "audio"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features.scenes-heard": HEARD | {"answers": "transcripe"}},
            "features.scenes-heard.answers: got 'transcripe'; expected an experiment of scenes that writes texts "
            "(caption, classify, transcribe) and reads none: caption, transcribe, none",
        ),
        (
            {"features.scenes-image.answers": "transcribe"},
            "features.scenes-image.answers: got 'transcribe'; answers are texts, and these features are image",
        ),
        (
            {"experiments.vqa.inputs.question": "scenes-heard"},
            "experiments.vqa.inputs.question: got 'scenes-heard', texts that an experiment writes; "
            "expected questions of the source",
        ),
        (
            {"experiments.retrieve.inputs.text": "scenes-heard"},
            "experiments.retrieve.inputs.text: got 'scenes-heard', texts that an experiment writes; "
            "the task retrieve searches in those of the source",
        ),
        (
            {"experiments.transcribe.init": "hear", "experiments.hear.inputs.audio": "scenes-speech"}
            | {"experiments.hear.encoders.audio": "cnn_gru"},
            "experiments.hear.inputs: transcribe, whose answers it reads, starts from it (init)",
        ),
    ],
)
def test_who_cannot_write_is_told_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        params_of(tmp_path, changes)
    assert f"  {message}" in str(caught.value).split("\n")
