"""Labels of a contrastive model, found untrained: as near to each medium as transformers' own logits say."""

import dataclasses
import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from stages.base.device import Device
from stages.base.store import BASES_PLACE
from stages.extractors import extractor as extractor_of
from stages.models.encoders.base import FeatureSpec
from stages.models.model import build, load_model, save_model
from stages.models.tables import FeatureTable, Split
from stages.pretrained import bases
from tests.models.test_pretrained_families import sound
from tests.support.small_splits import LABELS, make_config, make_rows
from tests.support.tiny_models import PIECES, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
FAMILIES = {"clip": "image", "siglip": "image", "clap": "audio"}
SPECIAL_PIECES = PIECES[:4]
LACKING = 3  # the sample without a medium


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv(BASES_PLACE, str(tmp_path / "bases"))


def png(number):
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(params=FAMILIES, scope="module")
def family(request, tmp_path_factory):
    """A tiny model whose tokenizer knows the labels, the features that it made, and their folder."""
    name, modality = request.param, FAMILIES[request.param]
    folder = write_tiny(name, tmp_path_factory.mktemp("tiny") / name)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL_PIECES, "a", "photo", *LABELS]))
    own = {"image": {"pool": 1}, "audio": {"seconds": 0.5}}[modality]
    params = SimpleNamespace(model=str(folder), revision="", modality=modality, level="pooled", layer=-1, **own)
    extractor = extractor_of("huggingface").from_params(params, CPU, "features.x", None)
    media = [sound(i) if modality == "audio" else png(i) for i in range(8)]
    features = extractor.extract(np.stack([extractor.decode(medium) for medium in media]))
    made = tmp_path_factory.mktemp("features")
    extractor.save(made)
    return SimpleNamespace(
        name=name, modality=modality, folder=folder, made=made, media=media, features=features, space=extractor.space
    )


def trained(family, tmp_path, space, **changes):
    """Return a model as evaluation reads it, away from the folder of the model that made its features."""
    named = {"encoders": {family.modality: "projection"}, **changes}
    config = make_config("classify", (family.modality,), **named)
    spec = FeatureSpec(family.features.shape[1:], space=space)
    task = build(dataclasses.replace(config, features={family.modality: spec}))
    bases.keep(bases.find(SimpleNamespace(model=str(family.folder), revision="")))
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", task.config, task.state_dict(), {family.modality: family.made}, {})
    return load_model(tmp_path / "model", CPU)


def rows_beside(family, task):
    places = [[] if i == LACKING else [i] for i in range(8)]
    split = Split(make_rows(), {family.modality: FeatureTable(family.features, places, CPU, 1e9)})
    return task.baselines(split, split)


@torch.no_grad()
def own_logits(family, prompts):
    model = transformers.AutoModel.from_pretrained(family.folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(family.folder)
    padding = {"padding": "max_length", "max_length": 32} if family.name == "siglip" else {"padding": True}
    given = tokenizer(prompts, return_tensors="pt", **padding)
    given = {key: given[key] for key in ("input_ids", *(() if family.name == "siglip" else ("attention_mask",)))}
    if family.modality == "image":
        processor = transformers.AutoImageProcessor.from_pretrained(family.folder)
        pixels = processor(images=[Image.open(io.BytesIO(m)) for m in family.media], return_tensors="pt")
        return model(**given, **pixels).logits_per_image
    from stages.media.audio import decode_audio

    processor = transformers.AutoFeatureExtractor.from_pretrained(family.folder)
    heard = [decode_audio(m, processor.sampling_rate)[: processor.sampling_rate // 2] for m in family.media]
    found = [processor(x, sampling_rate=processor.sampling_rate, return_tensors="pt") for x in heard]
    spectra = torch.cat([one["input_features"] for one in found])
    longer = torch.zeros(len(spectra), 1, dtype=torch.bool)
    return model(**given, input_features=spectra, is_longer=longer).logits_per_audio


@pytest.mark.parametrize("template", [None, "a a photo {label}"])
def test_labels_are_ranked_as_by_the_model_itself(family, tmp_path, template):
    own = {} if template is None else {"label_prompts": {family.modality: template}}
    answers = rows_beside(family, trained(family, tmp_path, family.space, **own))["zero_shot"]
    usual = {"image": "a photo of a {label}", "audio": "{label}"}[family.modality]
    logits = own_logits(family, [(template or usual).replace("{label}", label) for label in LABELS])
    for i, answer in enumerate(answers):
        if i == LACKING:
            assert answer["probabilities"] == pytest.approx([1 / len(LABELS)] * len(LABELS))
        else:
            assert np.argsort(answer["probabilities"]).tolist() == logits[i].argsort().tolist()
            np.testing.assert_allclose(answer["probabilities"], logits[i].softmax(-1), atol=2e-2)
    assert len({tuple(answer["probabilities"]) for answer in answers}) == 8


def test_the_row_stands_beside_the_majority_and_only_for_a_contrastive_model(family, tmp_path):
    assert list(rows_beside(family, trained(family, tmp_path, family.space))) == ["majority", "zero_shot"]
    shutil.rmtree(tmp_path / "model")
    assert list(rows_beside(family, trained(family, tmp_path, ""))) == ["majority"]
