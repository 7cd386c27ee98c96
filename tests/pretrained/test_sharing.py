"""Models over one base share its memory in a process, answer as if they did not, and let it go with the last."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.base.device import Device
from stages.extractors.huggingface.image import ImageModel
from stages.models.model import build, keep_bases, load_model, save_model
from stages.params.features import HuggingFaceImageParams
from stages.pretrained import bases, sharing
from tests.support.small_data import PROJECT
from tests.support.small_splits import make_config, make_split, project_params
from tests.support.tiny_models import write_tiny

pytest.importorskip("peft", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
EVALUATE = project_params().evaluate.model_copy(update={"batch_size": 8, "beam_size": 2})
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["all-linear"]}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def versions():
    """The folders of two trained captioners over one base, as `train` writes them."""
    head = {"name": "language_model", "model": str(write_tiny("llama", Path("llama"))), "lora": LORA}
    config = make_config("caption", ("image",), head=head, max_words=8)
    config = dataclasses.replace(config, bases={"head": bases.find(config.experiment.head)})
    keep_bases(config)
    folders = [Path("one"), Path("two")]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        task = build(config)
        for weight in task.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        folder.mkdir()
        save_model(folder, task.config, task.state_dict(), {}, {})
    return folders


def answers(task):
    return task.answer(make_split(("image",), ()), EVALUATE)


def frozen(model):
    return {name: weight for name, weight in model.named_parameters() if "lora_" not in name}


def places(model):
    return {weight.data_ptr() for weight in frozen(model).values()}


def unshared(folder):
    """Return a model's answers where nothing is shared: its base lies in it, as before there were references."""
    bases.put_files(folder)
    (folder / "bases/head/base.json").unlink()
    return answers(load_model(folder, CPU))


def test_versions_share_what_is_frozen_and_answer_as_if_they_did_not(versions):
    one, two = (load_model(folder, CPU) for folder in versions)
    assert places(one.decoder.model) == places(two.decoder.model)
    together = [answers(one), answers(two), answers(one)]
    assert together[0] == together[2] != together[1]
    assert [unshared(folder) for folder in versions] == together[:2]


LET_GO = """
import gc
from pathlib import Path
from stages.models.model import load_model
from stages.pretrained import sharing
from tests.pretrained.test_sharing import CPU, answers
one, two = (load_model(Path(folder), CPU) for folder in ("one", "two"))
assert len(sharing._known()) == 1
again = answers(two)
del one
gc.collect()
assert answers(two) == again
del two
gc.collect()
assert len(sharing._known()) == 0
"""


def test_a_base_is_let_go_with_the_last_model_that_stands_on_it(versions):
    """In a process of its own, where nothing else holds on to what it saw."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", LET_GO], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_code_of_another_version_shares_too(versions):
    spec = importlib.util.spec_from_file_location("other_sharing", sharing.__file__)
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    task = load_model(versions[0], CPU)
    folder = bases.locate(versions[0] / "bases/head").folder
    model = other.read(folder, "language model", lambda _: pytest.fail("it was read again"), CPU.device)
    assert places(model) == places(task.decoder.model)


@pytest.mark.parametrize("train", ["frozen", "lora", "last_layers", "all"])
def test_what_learned_is_a_models_own(train):
    named = {"name": "huggingface", "model": str(write_tiny("vit", Path("vit"))), "train": train, "lora": LORA}
    encoders = {"image": {**named, "last_layers": 1}, "audio": "none", "text": "none", "question": "none"}
    config = make_config("classify", ("image",), encoders=encoders)
    config = dataclasses.replace(config, bases={"encoders.image": bases.find(config.experiment.encoders.image)})
    keep_bases(config)
    task = build(config).eval()
    with torch.no_grad():
        for weight in task.encoders["image"].adapter.weights.values():
            weight += 0.1
    Path("trained").mkdir()
    save_model(Path("trained"), config, task.state_dict(), {}, {})
    one = load_model(Path("trained"), CPU)
    with torch.no_grad():
        for weight in one.parameters():
            weight.zero_()
    two = load_model(Path("trained"), CPU)
    split = make_split(("image",), ())
    assert two.answer(split, EVALUATE) == task.answer(split, EVALUATE)
    mine, theirs = (model.encoders["image"].adapter.model for model in (one, two))
    learned = set(two.encoders["image"].adapter.weights)
    both = zip(frozen(mine).items(), frozen(theirs).values(), strict=True)
    for (name, weight), other in both:
        assert (weight.data_ptr() == other.data_ptr()) == (name.replace(".", "/") not in learned), name


@pytest.mark.parametrize("level", ["token", "pooled"])
def test_extractors_share_and_give_the_same_features(level):
    section = {"dataset": "x", "extractor": "huggingface", "modality": "image", "level": level, "batch_size": 2}
    params = HuggingFaceImageParams(**section, model=str(write_tiny("clip", Path("clip"))))
    made = ImageModel.from_params(params, CPU, "features.x", Path())
    Path("saved").mkdir()
    made.save(Path("saved"))
    one, two = (ImageModel.load(Path("saved"), CPU) for _ in range(2))
    assert places(one.tower) == places(two.tower) and not places(one.tower) & places(made.tower)
    blank = made.blank()[None]
    assert (one.extract(blank) == made.extract(blank)).all() and (two.extract(blank) == made.extract(blank)).all()
