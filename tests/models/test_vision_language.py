"""A ready-made vision-language model over the cached places of its images answers as it does from pixels."""

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from stages.base.errors import InputError
from stages.extractors.huggingface.image import ImageModel
from stages.models.encoders.base import FeatureSpec
from stages.models.heads.pieces import OFFSET
from stages.models.heads.search import Search, search
from stages.models.model import build, keep_bases, load_model, save_model
from stages.models.tables import FeatureTable
from stages.pretrained import bases
from stages.training.batches import ValidationBatches
from tests.models.tasks.test_prompted_tasks import BYTES, CPU, EVALUATE, LORA, TEXT_OF, UTF8, learn, make_data
from tests.support.small_splits import make_config
from tests.support.tiny_models import IMAGE_PIECE, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytest.importorskip("peft", reason="needs the extra `huggingface`")

FAMILIES = ("llava", "smolvlm", "qwen2_vl", "qwen2_5_vl")
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
PROMPT = "in {image} a small {question} is"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {name: write_tiny(name, tmp_path_factory.mktemp("tiny") / name) for name in FAMILIES}


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def extractor(folder):
    params = SimpleNamespace(model=str(folder), revision="", level="token", layer=-1, pool=1)
    return ImageModel.from_params(params, CPU, "features.x", folder)


def make(folder, task="vqa", prompt=PROMPT):
    torch.manual_seed(0)
    made = extractor(folder)
    head = {"name": "language_model", "model": str(folder), "lora": LORA, "prompt": prompt}
    config = make_config(task, ("image", TEXT_OF[task]), head=head, max_words=12)
    features = {
        "image": FeatureSpec(made.shape, 0, made.space),
        TEXT_OF[task]: FeatureSpec((BYTES,), 0, UTF8),
    }
    model = build(dataclasses.replace(config, features=features, bases={"head": bases.find(config.experiment.head)}))
    split = make_data(task)
    rows = made.extract(np.stack([made.decode(picture(i)) for i in range(8)]))
    table = FeatureTable(rows, [[i] for i in range(8)], CPU, 1e9)
    return model.eval(), dataclasses.replace(split, features=split.features | {"image": table})


def from_pixels(folder, model, i, question):
    """Return what transformers itself writes."""
    whole = transformers.AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    made = extractor(folder)
    given, _ = made.inputs(made.decode(picture(i))[None])
    pieces = model.decoder.pieces
    before, after = pieces.ids("in "), pieces.ids(f" a small {question} is")
    ids = torch.tensor([[*before, *[IMAGE_PIECE] * made.shape[0], *after]])
    if "image_grid_thw" in given:
        given["mm_token_type_ids"] = (ids == IMAGE_PIECE).int()
    out = whole.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **given,
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=pieces.end,
        pad_token_id=pieces.end,
    )[0, ids.shape[1] :].tolist()
    return out[: out.index(pieces.end)] if pieces.end in out else out


@EVERY_FAMILY
def test_answers_from_cached_places_are_those_from_pixels(tiny, family):
    model, split = make(tiny[family])
    batch = next(iter(ValidationBatches(split, model, 8)))
    written = search(model.decoder, model._prefix(batch), Search(1, 12, 0.0))
    differing, place = set(), 0
    for i, row in enumerate(split.rows[:4]):
        for question in row["questions"]:
            theirs = from_pixels(tiny[family], model, i, question)
            assert [number - OFFSET for number in written[place].ids] == theirs
            differing.add(tuple(theirs))
            place += 1
    assert len(differing) > 1


@EVERY_FAMILY
def test_it_is_tuned_on_one_s_own_answers_and_read_again(tiny, family, tmp_path, monkeypatch):
    model, split = make(tiny[family])
    losses = learn(model, split, 20)
    assert losses[-1] < 0.7 * losses[0]
    assert all("lora" in name for name in model.state_dict()), "nothing is projected, so no projector is saved"
    answers = model.answer(split, EVALUATE)
    monkeypatch.chdir(tmp_path)
    keep_bases(model.config)
    save_model(tmp_path, model.config, model.state_dict(), {}, {})
    assert load_model(tmp_path, CPU).answer(split, EVALUATE) == answers


def test_what_writes_is_not_kept_with_the_extractor(tiny):
    for family in FAMILIES:
        tower = extractor(tiny[family]).tower
        assert not any("language" in name or "text_model" in name for name, _ in tower.named_parameters())


def test_places_of_another_model_are_refused(tiny, tmp_path):
    other = write_tiny("llava", tmp_path / "other")
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"image_seq_length": 16', '"image_seq_length": 17'))
    model, _ = make(tiny["llava"])
    named = model.config.experiment.head.model_copy(update={"model": str(other)})
    config = dataclasses.replace(model.config, bases={"head": bases.find(named)})
    with pytest.raises(InputError, match=r"\{image\}, whose features are not made by this model"):
        build(config)
