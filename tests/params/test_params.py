"""A mistake in params.yaml is named in full, with what stands there and what is allowed, before anything heavy runs."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.base.errors import InputError
from stages.params import BackboneParams, column_of, experiment_params, load_params, variant_names
from tests.support.small_data import PROJECT, REMOVED, make_params, write_params
from tests.support.small_splits import make_task

OTHER_FEATURES = {
    "dataset": "other",
    "modality": "image",
    "extractor": "torchvision",
    "size_px": 224,
    "batch_size": 8,
    "backbone": "mobilenet_v2",
    "weights": "w.pth",
    "weights_sha256": "",
    "layer": "grid",
}
OTHER_DATASET = {"source": "flickr8k", "folder": "none", "mirror": "", "images_sha256": "", "text_sha256": ""}
BACKBONE = {
    "name": "torchvision",
    "backbone": "resnet18",
    "weights": "w.pth",
    "weights_sha256": "",
    "batch_norms": "frozen",
}
EVERY_KEY = "missing key; every key of params.yaml must be given"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_params(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        # unknown
        ("traim", {}, "traim: unknown key; expected one of base, datasets, download, "),
        ("base.sede", 1, "base.sede: unknown key; expected one of seed, device, precision, "),
        ("datasets.scenes.mirror", "", "datasets.scenes.mirror: unknown key; expected one of folder, source, "),
        ("datasets.scenes.flickr8k", 1, "datasets.scenes.flickr8k: unknown key; expected one of folder, source, "),
        ("features.scenes-image.layer", "grid", "features.scenes-image.layer: unknown key; expected one of dataset, "),
        ("experiments.caption.scenes", 1, "experiments.caption.scenes: unknown key; expected one of task, dataset, "),
        ("experiments.caption.inputs.smell", "x", "experiments.caption.inputs.smell: unknown key; expected one of "),
        # missing
        ("train", REMOVED, f"train: {EVERY_KEY}"),
        ("base.seed", REMOVED, f"base.seed: {EVERY_KEY}"),
        ("datasets.scenes.noise", REMOVED, f"datasets.scenes.noise: {EVERY_KEY}"),
        ("datasets.scenes.source", REMOVED, f"datasets.scenes.source: {EVERY_KEY}"),
        ("datasets.scenes.folder", REMOVED, f"datasets.scenes.folder: {EVERY_KEY}"),
        ("features.scenes-image.size_px", REMOVED, f"features.scenes-image.size_px: {EVERY_KEY}"),
        ("experiments.caption.task", REMOVED, f"experiments.caption.task: {EVERY_KEY}"),
        ("experiments.caption.inputs.audio", REMOVED, f"experiments.caption.inputs.audio: {EVERY_KEY}"),
        (
            "experiments.caption.encoders.image",
            REMOVED,
            "experiments.caption.encoders.image: got 'none'; expected one of ",
        ),
        ("train.texts_per_step", REMOVED, f"train.texts_per_step: {EVERY_KEY}"),
        # wrong type
        ("base", None, "base: got None; expected keys with values"),
        ("datasets", None, "datasets: got None; expected keys with values"),
        ("datasets.scenes", 3, "datasets.scenes: got 3; expected keys with values"),
        ("base.seed", "7", "base.seed: got '7'; expected a valid integer"),
        ("base.seed", True, "base.seed: got True; expected a valid integer"),
        ("train.epochs", 20.0, "train.epochs: got 20.0; expected a valid integer"),
        ("train.learning_rate", "fast", "train.learning_rate: got 'fast'; expected a valid number"),
        ("experiments.caption.train", None, "experiments.caption.train: got None; expected keys with values"),
        # out of range
        ("base.threads", 0, "base.threads: got 0; expected greater than or equal to 1"),
        ("prepare.max_bad_fraction", 1.5, "prepare.max_bad_fraction: got 1.5; expected less than or equal to 1"),
        ("train.learning_rate", 0, "train.learning_rate: got 0; expected greater than 0"),
        ("download.max_total_gb", float("inf"), "download.max_total_gb: got inf; expected a finite number"),
        ("train.weight_decay", float("nan"), "train.weight_decay: got nan; expected a finite number"),
        ("experiments.caption.dim", 20, "experiments.caption.dim: got 20; expected a multiple of 8"),
        ("experiments.caption.attention_heads", 3, "experiments.caption.attention_heads: got 3; expected a divisor of"),
        ("experiments.classify.modality_dropout", 1.0, "experiments.classify.modality_dropout: got 1.0; expected less"),
        ("train.shift_fraction", 0.6, "train.shift_fraction: got 0.6; expected less than or equal to 0.5"),
        # unknown names
        ("datasets.scenes.source", "web", "datasets.scenes.source: got 'web'; expected one of 'scenes', 'flickr8k'"),
        ("features.scenes-image.extractor", "x", "features.scenes-image.extractor: got 'x'; expected one of 'pixels'"),
        ("features.scenes-image.modality", "smell", "features.scenes-image.modality: got 'smell'; expected 'image'"),
        ("features.scenes-caption.column", "x", "features.scenes-caption.column: got 'x'; expected 'texts', 'message'"),
        ("experiments.caption.task", "x", "experiments.caption.task: got 'x'; expected one of 'caption', 'classify', "),
        (
            "experiments.caption.encoders.image",
            "gru",
            "experiments.caption.encoders.image: got 'gru'; expected one of ",
        ),
        ("experiments.caption.encoders.image", 3, "experiments.caption.encoders.image: got 3; expected a valid string"),
        (
            "experiments.vqa.inputs.image",
            "none",
            "experiments.vqa.head: got 'transformer', which reads the question beside other modalities; name one in ",
        ),
        ("experiments.vqa.head", "none", "experiments.vqa.encoders.question: got 'none'; expected one of bag, "),
        (
            "experiments.classify.encoders.text",
            "x",
            "experiments.classify.encoders.text: got 'x'; expected one of bag,",
        ),
        (
            "experiments.caption.encoders.smell",
            "x",
            "experiments.caption.encoders.smell: unknown key; expected one of ",
        ),
        ("experiments.caption.fusion", "x", "experiments.caption.fusion: got 'x'; expected one of concat, product, "),
        ("experiments.caption.head", "x", "experiments.caption.head: got 'x'; expected one of "),
        ("experiments.classify.head", "gru", "experiments.classify.head: got 'gru'; expected 'none'"),
        ("experiments.retrieve.target", "x", "experiments.retrieve.target: got 'x'; expected 'image', 'audio', "),
        (
            "serve.allow_origins",
            ["http://a.example/"],
            "serve.allow_origins: got ['http://a.example/']; expected origins",
        ),
        ("base.device", "tpu", "base.device: got 'tpu'; expected 'auto', 'cpu' or 'cuda'"),
        # references
        ("experiments.caption.dataset", "x", "experiments.caption.dataset: got 'x'; expected one of scenes"),
        ("features.scenes-image.dataset", "x", "features.scenes-image.dataset: got 'x'; expected one of scenes"),
        ("experiments.caption.inputs.image", "x", "experiments.caption.inputs.image: got 'x'; expected one of scenes-"),
        (
            "experiments.classify.inputs.text",
            "scenes-image",
            "experiments.classify.inputs.text: got 'scenes-image', which is image of scenes; "
            "expected text of scenes: scenes-caption, scenes-message, scenes-question, none",
        ),
        # what a task needs
        (
            "experiments.caption.inputs.image",
            "none",
            "experiments.caption.inputs: the task caption needs at least one ",
        ),
        (
            "experiments.retrieve.inputs.image",
            "none",
            "experiments.retrieve.inputs: the task retrieve needs at least 2",
        ),
        ("experiments.retrieve.target", "audio", "experiments.retrieve.inputs.audio: got 'none'; the task retrieve "),
        (
            "experiments.vqa.inputs.question",
            "none",
            "experiments.vqa.inputs.question: got 'none'; the task vqa needs it",
        ),
        (
            "experiments.classify.encoders.text",
            "none",
            "experiments.classify.encoders.text: got 'none'; expected one of",
        ),
        # an experiment's own values of `train`
        ("experiments.caption.train.epochs", 0, "experiments.caption.train.epochs: got 0; expected greater than or "),
        ("experiments.caption.train.epoch", 3, "experiments.caption.train.epoch: unknown key; expected one of seed, "),
        ("experiments.caption.train.monitor", "x", "experiments.caption.train.monitor: got 'x'; expected 'score' or"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(tmp_path, place, value, message):
    path = write_params(tmp_path / "params.yaml", {place: value})
    first, *lines = refusal(path).split("\n")
    assert first == f"{path}:"
    assert len(lines) == 1
    assert lines[0].startswith(f"  {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "x"}, "name: got 'x'; expected one of 'torchvision', 'huggingface'"),
        (
            {"depth": 3},
            "depth: unknown key; expected one of name, backbone, weights, weights_sha256, batch_norms, train, lora",
        ),
        ({"weights": 3}, "weights: got 3; expected a valid string"),
    ],
)
def test_a_mistake_in_a_backbone_is_named_by_its_key(tmp_path, change, message):
    path = write_params(tmp_path / "params.yaml", {"experiments.caption.encoders.image": BACKBONE | change})
    assert refusal(path).startswith(f"{path}:\n  experiments.caption.encoders.image.{message}")


HF = {"name": "huggingface", "model": "m"}
PIECES = {
    "dataset": "scenes",
    "modality": "text",
    "extractor": "model_input",
    "column": "message",
    "model": "m",
    "max_words": 8,
    "batch_size": 8,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoders.text": "huggingface"},
            "encoders.text: got 'huggingface'; expected a mapping: {name: huggingface, model: ..., revision: ..., "
            "train: ..., lora: ..., last_layers: ..., gradient_checkpointing: ...}",
        ),
        (
            {"encoders.image": "torchvision"},
            "encoders.image: got 'torchvision'; expected a mapping: {name: torchvision, ",
        ),
        (
            {"encoders.audio": "x"},
            "encoders.audio: got 'x'; expected one of cnn, gru, cnn_gru, projection, huggingface, none",
        ),
        (
            {"encoders.image": HF | {"name": "x"}},
            "encoders.image.name: got 'x'; expected one of 'torchvision', 'huggin",
        ),
        ({"encoders.text": HF | {"name": "x"}}, "encoders.text.name: got 'x'; expected 'huggingface'"),
        (
            {"encoders.text": HF | {"train": "x"}},
            "encoders.text.train: got 'x'; expected 'frozen', 'lora', ",
        ),
        (
            {"encoders.text": HF | {"layers": 1}},
            "encoders.text.layers: unknown key; expected one of name, model, revision",
        ),
        (
            {"encoders.text": HF},
            "inputs.text: got 'scenes-message', which is of the extractor tokens; the encoder huggingface reads ",
        ),
        (
            {"inputs.text": "pieces"},
            "encoders.text: got 'gru', which cannot read pieces, of the extractor model_input; expected {name: ",
        ),
        (
            {"label_prompts": {"image": "a photo"}},
            "label_prompts.image: got 'a photo'; expected a text with {label} in it",
        ),
        ({"label_prompts": {"text": "x"}}, "label_prompts.text: unknown key; expected one of image, audio"),
    ],
)
def test_a_mistake_about_pretrained_models_is_named(tmp_path, changes, message):
    changes = {f"experiments.classify.{key}": value for key, value in changes.items()}
    path = write_params(tmp_path / "params.yaml", {"features.pieces": PIECES, **changes})
    assert f"  experiments.classify.{message}" in refusal(path)


def test_pretrained_models_of_every_modality_are_named_with_few_words(tmp_path):
    named = {"encoders.text": HF, "inputs.text": "pieces", "label_prompts": {"audio": "a sound of {label}"}}
    changes = {f"experiments.classify.{key}": value for key, value in named.items()}
    classify = make_params(tmp_path, {"features.pieces": PIECES, **changes}).experiments["classify"]
    assert classify.bases().keys() == {"encoders.text"}
    assert classify.label_prompts.texts("image", ["dog"]) == ["a photo of a dog"]
    assert classify.label_prompts.texts("audio", ["dog"]) == ["a sound of dog"]


def test_a_backbone_trained_end_to_end_is_a_mapping(tmp_path):
    encoders = make_params(tmp_path, {"experiments.caption.encoders.image": BACKBONE}).experiments["caption"].encoders
    assert encoders.image == BackboneParams(**BACKBONE) and encoders.audio == "none"


def test_translation_is_between_two_modalities(tmp_path):
    classify = {"task": "translate", "way": "direct"}
    changes = {f"experiments.classify.{key}": value for key, value in classify.items()}
    make_params(tmp_path, changes | {"experiments.classify.inputs.audio": "none"})
    path = write_params(tmp_path / "params.yaml", changes)
    used = {"image": "scenes-image", "audio": "scenes-audio", "text": "scenes-message"}
    assert (
        refusal(path) == f"{path}:\n  experiments.classify.inputs: the task translate needs two modalities; got {used}"
    )


def test_inputs_that_stand_at_none_are_not_used(tmp_path):
    experiments = make_params(tmp_path, {}).experiments
    assert experiments["caption"].inputs.used() == {"image": "scenes-image"}
    assert list(experiments["vqa"].inputs.used()) == ["image", "question"]


def test_features_of_another_data_set_are_refused(tmp_path):
    changes = {"datasets.other": OTHER_DATASET, "features.other-image": OTHER_FEATURES}
    make_params(tmp_path, changes)
    path = write_params(tmp_path / "params.yaml", {**changes, "experiments.caption.inputs.image": "other-image"})
    assert refusal(path) == (
        f"{path}:\n  experiments.caption.inputs.image: got 'other-image', which is image of other; "
        "expected image of scenes: scenes-image, none"
    )


def test_several_mistakes_are_named_at_once(tmp_path):
    path = write_params(tmp_path / "params.yaml", {"base.seed": -1, "train.epochs": 0, "evaluate.beam_size": 51})
    keys = [line.strip().partition(":")[0] for line in refusal(path).split("\n")[1:]]
    assert keys == ["base.seed", "train.epochs", "evaluate.beam_size"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"base: [", "not valid YAML: while parsing a flow node"),
        (b"base: 1\nbase: 2\n", 'not valid YAML: while constructing a mapping\n  in "<unicode string>", line 1'),
        (b"base:\n\tseed: 7\n", "not valid YAML: "),
        (b"base: 2026-13-45", "not valid YAML: month must be in 1..12"),
        (b"\xff\xfe", "not valid YAML: 'utf-8' codec can't decode byte 0xff in position 0"),
        (b"a: !!python/object:os.system x", "not valid YAML: could not determine a constructor"),
        (b"", "expected the sections base, datasets, "),
        (b"- base", "expected the sections base, datasets, "),
    ],
)
def test_a_file_that_is_no_params_file_is_refused(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: {message}")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    path = tmp_path / "gone.yaml"
    assert refusal(path) == f"{path}: no such file; run from the project's root, or write one: `make preset` lists them"


def test_an_experiment_replaces_single_values_of_train(tmp_path):
    params = make_params(tmp_path, {"experiments.caption.train": {"epochs": 3}, "train.epochs": 9, "train.patience": 4})
    assert params.train.epochs == 9
    assert (params.train_of("caption").epochs, params.train_of("caption").patience) == (3, 4)


def test_params_cannot_be_changed(tmp_path):
    params = make_params(tmp_path, {})
    with pytest.raises(ValidationError, match="frozen"):
        params.base.seed = 8


def test_whole_numbers_are_fine_where_fractions_are_allowed(tmp_path):
    assert make_params(tmp_path, {"train.gradient_clip": 1}).train.gradient_clip == 1.0


def test_variants_are_read_from_the_dict_of_their_folder():
    assert variant_names("sources")[:2] == ("scenes", "flickr8k")
    assert {"gru", "transformer"} <= set(variant_names("models/heads"))
    assert "cnn" in variant_names("models/encoders", "image") and "gru" not in variant_names("models/encoders", "image")
    assert {"gru", "projection"} <= set(variant_names("models/encoders", "text"))


def test_features_say_which_column_they_read(tmp_path):
    features = make_params(tmp_path, {}).features
    names = ["scenes-image", "scenes-audio", "scenes-caption", "scenes-message", "scenes-question"]
    assert [column_of(features[name]) for name in names] == ["image", "audio", "texts", "message", "questions"]


def test_an_experiments_values_make_it_anew(tmp_path):
    for experiment in make_params(tmp_path, {"experiments.caption.encoders.image": BACKBONE}).experiments.values():
        assert experiment_params(experiment.model_dump()) == experiment


@pytest.mark.parametrize(
    ("stage", "name", "change", "message"),
    [
        ("train", "nonsense", {}, "experiments has no 'nonsense'; expected one of caption"),
        ("train", "caption", {"train.epoch": 3}, "train.epoch: unknown key"),
        ("register", "nonsense", {}, "experiments has no 'nonsense'; expected one of caption"),
        ("features", "nonsense", {}, "features has no 'nonsense'; expected one of scenes-audio, scenes-caption, "),
        ("evaluate", "nonsense", {}, "experiments has no 'nonsense'; expected one of caption"),
        ("prepare", None, {}, "give a name; expected one of scenes"),
    ],
)
def test_a_mistake_is_found_before_anything_heavy_is_imported(tmp_path, stage, name, change, message):
    path = write_params(tmp_path / "params.yaml", change)
    command = [sys.executable, "-X", "importtime", "-m", f"stages.{stage}", *filter(None, [name]), "--params", path]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 1
    assert lines[0].startswith(f"error: {path}:")
    assert message in "\n".join(lines)
    assert "Traceback" not in done.stderr
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "stages.params" in imported
    assert not imported & {"torch", "torchvision", "lightning", "mlflow", "pandas", "matplotlib", "scipy"}
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu_s < 2  # CPU time: the wall clock also counts what else the machine does


@pytest.mark.parametrize(
    "name, used, required",
    [
        ("classify", ("image", "audio", "text"), ()),
        ("classify", ("audio",), ("audio",)),
        ("vqa", ("image", "question"), ("question",)),
        ("match", ("image", "text"), ("text", "image")),
        ("match", ("image", "audio", "text"), ("text",)),  # and any of the others
    ],
)
def test_what_must_be_given_when_a_model_is_asked(name, used, required):
    assert make_task(name, used).config.experiment.required() == required
