"""A Hugging Face image model as an encoder: what learns is what was asked for, and is all that is saved."""

import copy
import dataclasses

import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.models.encoders.base import FeatureSpec
from stages.models.model import build
from stages.models.tables import FeatureTable, Split
from stages.training.batches import ValidationBatches
from stages.training.module import TrainingModule
from tests.support.small_splits import make_config, make_rows, project_params
from tests.support.tiny_models import write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytest.importorskip("peft", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
FAMILIES = ("clip", "siglip", "vit", "dinov2", "dinov2_registers", "convnext")
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["all-linear"]}
PARAMS = project_params()
TRAIN = PARAMS.train.model_copy(update={"pretrained_learning_rate": 1e-3, "learning_rate": 1e-2})
EVALUATE = PARAMS.evaluate.model_copy(update={"batch_size": 5})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {name: write_tiny(name, tmp_path_factory.mktemp("tiny") / name) for name in FAMILIES}


def make(folder, train="lora", size_px=32, **changes):
    torch.manual_seed(0)
    named = {"name": "huggingface", "model": str(folder), "train": train, "lora": LORA, **changes}
    encoders = {"image": named, "audio": "none", "text": "none", "question": "none"}
    config = make_config("classify", ("image",), encoders=encoders)
    features = {"image": FeatureSpec((size_px, size_px, 3))}
    return build(dataclasses.replace(config, features=features, bases={"encoders.image": folder}))


def make_pixels(size_px=32):
    rows = make_rows()
    images = torch.randint(0, 256, (len(rows), size_px, size_px, 3), dtype=torch.uint8, generator=torch.manual_seed(1))
    return Split(rows, {"image": FeatureTable(images.numpy(), [[i] for i in range(len(rows))], CPU, 1e9)})


def learn(task, split, count=20):
    batch = next(iter(ValidationBatches(split, task, len(split))))
    module = TrainingModule(task, TRAIN, count, split)
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(count):
        loss = task.train().loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights_of(task):
    return {name: weight.clone() for name, weight in task.encoders["image"].adapter.model.state_dict().items()}


def test_only_the_last_layers_learn(tiny):
    task, split = make(tiny["vit"], "last_layers", last_layers=1), make_pixels()
    before = weights_of(task)
    learn(task, split, 3)
    after = weights_of(task)
    changed = {key for key, weight in before.items() if not torch.equal(weight, after[key])}
    assert changed and all(key.startswith(("layers.1.", "layernorm.")) for key in changed)


def test_a_copy_shares_what_is_frozen(tiny):
    task = make(tiny["clip"], "lora")
    other = copy.deepcopy(task)
    mine, theirs = (dict(t.encoders["image"].adapter.model.named_parameters()) for t in (task, other))
    assert all((mine[name] is theirs[name]) == ("lora_" not in name) for name in mine)


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(InputError, match="does not take images of 40 x 40 px"):
        make(tiny["vit"], size_px=40)


def test_more_layers_than_there_are_are_refused(tiny):
    with pytest.raises(InputError, match="has 2 layers, fewer than last_layers: 3"):
        make(tiny["vit"], "last_layers", last_layers=3)
