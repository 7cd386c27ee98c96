"""A training that goes on from an own version: words keep their weights wherever they now stand, new ones start new."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.base.store import START_MODEL, VERSION_FILE, artifact_path, write_json, writing
from stages.models.model import build, save_model
from stages.models.tasks import Task
from stages.training.key import start_of
from stages.training.start import begin, kept_of
from tests.support.small_splits import ANSWERS, WORDS, make_config

MORE_WORDS = [*WORDS[:6], "zebra", *reversed(WORDS[6:])]
MORE_ANSWERS = ["maybe", *reversed(ANSWERS)]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(words: list[str], answers: list[str], **changes: Any) -> Task:
    """Build a new model of these words, whose features are there."""
    for modality, settings in (("image", {}), ("question", {"vocabulary": words})):
        with writing("features", f"small-{modality}", {}) as draft:
            write_json(draft.folder / "extractor.json", settings)
    config = make_config("vqa", ("image", "question"), **changes)
    features = config.features | {"question": dataclasses.replace(config.features["question"], num_words=len(words))}
    torch.manual_seed(len(words))
    return build(dataclasses.replace(config, features=features, vocabularies={"answers": answers}))


def keep_as_start(task: Task) -> dict[str, Tensor]:
    """Put a model where retraining puts the champion; return its weights."""
    used = task.config.experiment.inputs.used()
    with writing("train", "vqa", {}) as draft:
        folders = {modality: artifact_path("features", feature) for modality, feature in used.items()}
        save_model(draft.folder, task.config, task.state_dict(), folders, {})
    place = artifact_path("start", "vqa")
    place.mkdir(parents=True)
    artifact_path("train", "vqa").rename(place / START_MODEL)
    write_json(place / VERSION_FILE, {"version": 3})
    return task.state_dict()


def go_on(task: Task) -> str:
    start = start_of("vqa", task.config.experiment)
    assert start is not None
    return begin(task, "vqa", start)


def test_everything_is_taken_where_nothing_changed():
    old = keep_as_start(make(WORDS, ANSWERS))
    task = make(WORDS, ANSWERS, dropout=0.5)
    assert go_on(task) == f"starts with {len(old)} of {len(old)} weights of its version 3"
    assert all(torch.equal(value, old[key]) for key, value in task.state_dict().items())
    kept = kept_of(start_of("vqa", task.config.experiment))["init"]
    assert (kept["init"], kept["version"]) == ("vqa", 3)


def test_words_and_answers_are_known_by_name_and_new_ones_start_new():
    old = keep_as_start(make(WORDS, ANSWERS))
    task = make(MORE_WORDS, MORE_ANSWERS)
    fresh = {key: value.clone() for key, value in task.state_dict().items()}
    told = go_on(task)
    assert told.startswith(f"starts with {len(old)} of {len(old)} weights of its version 3; ")
    assert told.endswith("new words: 1 of 5 in answers, 1 of 15 in question")
    new = task.state_dict()
    for key, words, before in (
        ("encoders.question.embedding.weight", MORE_WORDS, WORDS),
        ("words.image.weight", MORE_ANSWERS, ANSWERS),
        ("words.image.bias", MORE_ANSWERS, ANSWERS),
    ):
        for place, word in enumerate(words):
            wanted = old[key][before.index(word)] if word in before else fresh[key][place]
            assert torch.equal(new[key][place], wanted), (key, word)
    assert torch.equal(new["encoders.question.norm.weight"], old["encoders.question.norm.weight"])


def test_chance_is_as_it_was_after_looking_for_the_axes():
    keep_as_start(make(WORDS, ANSWERS))
    task = make(MORE_WORDS, MORE_ANSWERS)
    state = torch.get_rng_state()
    go_on(task)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_built_otherwise_starts_new_and_is_said():
    old = keep_as_start(make(WORDS, ANSWERS))
    task = make(WORDS, ANSWERS, fusion="product", encoders={"image": "vit", "question": "gru"})
    fresh = {key: value.clone() for key, value in task.state_dict().items()}
    told = go_on(task)
    assert "; not that of image: its encoders.image is cnn, here vit; what is no encoder: another fusion" in told
    for key, value in task.state_dict().items():
        same = old if key.startswith("encoders.question.") else fresh
        assert torch.equal(value, same[key]), key


def test_a_model_that_this_code_cannot_read_is_named_with_the_way_out():
    task = make(WORDS, ANSWERS)
    keep_as_start(task)
    path = artifact_path("start", "vqa") / START_MODEL / "model.json"
    path.write_text(path.read_text().replace('"fusion"', '"mixing"'))
    with pytest.raises(
        InputError, match="artifacts/start/vqa/model: this code cannot .*; to start from nothing: python"
    ):
        go_on(task)


def test_without_a_version_put_there_a_training_starts_from_nothing():
    artifact_path("start", "vqa").mkdir(parents=True)
    assert start_of("vqa", make(WORDS, ANSWERS).config.experiment) is None
