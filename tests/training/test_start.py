"""Which trained encoders a training begins with, and which not, and why."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.base.errors import InputError
from stages.base.store import artifact_path, write_json, writing
from stages.models.model import save_model
from stages.models.tasks import Task
from stages.training.key import Start, start_of, training_key
from stages.training.start import begin, kept_of
from tests.support.small_splits import WORDS, make_task

EXTRACTORS = {
    "image": {"extractor": "pixels", "size_px": 32},
    "audio": {"extractor": "log_mel", "rate_hz": 8000},
    "text": {"extractor": "tokens", "vocabulary": ["a"]},
    "question": {"extractor": "tokens", "vocabulary": ["a"]},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of each modality, and `other`: a trained captioner of images and texts."""
    monkeypatch.chdir(tmp_path)
    for modality, settings in EXTRACTORS.items():
        write_feature(modality, settings)
    train_other(make_task("caption", ("image", "text")))


def write_feature(modality: str, settings: dict, more: str = "") -> None:
    with writing("features", f"small-{modality}", {}) as draft:
        write_json(draft.folder / "extractor.json", settings)
        (draft.folder / "weights.bin").write_text(more)


def train_other(task: Task) -> dict[str, Tensor]:
    """Write a model as `train` does, whose every weight is 0.5."""
    weights = {key: torch.full_like(value, 0.5) for key, value in task.state_dict().items()}
    used = task.config.experiment.inputs.used()
    with writing("train", "other", {}) as draft:
        save_model(draft.folder, task.config, weights, {m: artifact_path("features", used[m]) for m in used}, {})
    return weights


def taken(task: Task) -> list[str]:
    """Return the modalities whose encoder is wholly the other's."""
    return [m for m, encoder in task.encoders.items() if all((v == 0.5).all() for v in encoder.parameters())]


def take(task: Task) -> str:
    return begin(task, "mine", Start("other", None, artifact_path("train", "other")))


def test_what_both_have_is_taken_and_the_rest_named_with_its_reason():
    task = make_task("classify", ("image", "audio", "text"))
    assert take(task) == "starts with other's encoder of image and text; not that of audio: it has no audio"
    assert taken(task) == ["image", "text"]


def test_a_question_begins_as_a_text_where_the_words_are_the_same():
    task = make_task("vqa", ("image", "question"))
    assert take(task) == "starts with other's encoder of image and question"
    write_feature("question", EXTRACTORS["question"] | {"vocabulary": ["a", "b"]})
    task = make_task("vqa", ("image", "question"))
    assert take(task).endswith("; not that of question: its features have another vocabulary")
    assert taken(task) == ["image"]


def test_a_decoder_that_reads_questions_begins_as_one_that_writes_with_the_words_that_both_know():
    train_other(make_task("caption", ("image",)))
    write_feature("question", EXTRACTORS["question"] | {"vocabulary": [*WORDS[:-2], "how", "many"]})
    task = make_task("vqa", ("image", "question"), head="transformer")
    fresh = make_task("vqa", ("image", "question"), head="transformer").decoder
    assert take(task) == (
        "starts with other's encoder of image; with 27 of 27 weights of its decoder; new words: 2 of 14 in question"
    )
    words = task.decoder.embedding.weight
    assert (words[:-2] == 0.5).all() and torch.equal(words[-2:], fresh.embedding.weight[-2:])
    assert all((value == 0.5).all() for value in task.decoder.layers.parameters())
    assert (take(make_task("vqa", ("image", "question"), head="gru"))).endswith(
        "not its decoder: its head is transformer, here gru"
    )
    assert take(make_task("vqa", ("image", "question"))).startswith("starts with other's encoder of image; not that of")


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        ({"encoders": {"image": "vit"}}, "its encoders.image is cnn, here vit"),
        ({"dim": 32}, "its dim is 16, here 32"),
    ],
)
def test_params_that_differ_are_named_on_both_sides(mine, reason):
    with pytest.raises(
        InputError, match=f"^experiments.mine.init: nothing of other fits .image: {reason}.; make these"
    ):
        take(make_task("classify", ("image",), **mine))


def test_features_made_otherwise_are_told_by_what_differs():
    write_feature("image", EXTRACTORS["image"] | {"size_px": 64})
    with pytest.raises(InputError, match="image: its features have another size_px"):
        take(make_task("classify", ("image",)))
    write_feature("image", EXTRACTORS["image"], "others")
    with pytest.raises(InputError, match="image: its features are made with other weights"):
        take(make_task("classify", ("image",)))


def test_layers_and_heads_are_held_where_an_encoder_has_them():
    vit = {"encoders": {"image": "vit"}}
    train_other(make_task("classify", ("image",), **vit))
    take(make_task("classify", ("image",), **vit))
    with pytest.raises(InputError, match="image: its layers are others, such as blocks.1."):
        take(make_task("classify", ("image",), layers=2, **vit))
    with pytest.raises(InputError, match="image: its attention_heads is 4, here 2"):
        take(make_task("classify", ("image",), attention_heads=2, **vit))
    train_other(make_task("classify", ("image",)))
    assert take(make_task("classify", ("image",), layers=2, attention_heads=2)).endswith("encoder of image")


def test_the_key_of_a_training_and_its_manifest_know_the_weights_it_begins_with():
    experiment = make_task("classify", ("image",)).config.experiment
    assert start_of("mine", experiment) is None and kept_of(None) == {}
    start = start_of("mine", experiment.model_copy(update={"init": "other"}))
    with writing("prepare", "small", {}):
        pass
    keys, kept = [training_key({}, "small", {}), training_key({}, "small", {}, start)], kept_of(start)
    assert kept["init"].keys() == {"init", "weights"} and kept["init"]["init"] == "other"
    train_other(make_task("caption", ("image",)))
    assert len({*keys, training_key({}, "small", {}, start)}) == 3 and kept_of(start) != kept
