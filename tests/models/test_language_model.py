"""A language model as the head of captions: it learns, is read again as it was, and writes as transformers would."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.media.text import END, START
from stages.models.heads.language_model import LanguageModel
from stages.models.heads.pieces import OFFSET, Pieces
from stages.models.heads.search import Search, search
from stages.models.model import BASES, build, keep_bases, load_model, save_model
from stages.params import LanguageModelParams
from stages.pretrained import bases
from stages.training.batches import ValidationBatches
from tests.support.small_splits import make_config, make_split, project_params
from tests.support.tiny_models import write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytest.importorskip("peft", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
FAMILIES = ("llama", "gpt2")
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["all-linear"]}
TRAIN = project_params().train.model_copy(update={"word_loss": 0.0, "label_smoothing": 0.1})
EVALUATE = project_params().evaluate.model_copy(update={"batch_size": 3, "beam_size": 2})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {family: write_tiny(family, tmp_path_factory.mktemp("tiny") / family) for family in FAMILIES}


def head(folder, **changes):
    return {"name": "language_model", "model": str(folder), "lora": LORA, **changes}


def make(folder, modalities=("image",), **changes):
    torch.manual_seed(0)
    config = make_config("caption", modalities, head=head(folder, **changes), max_words=12)
    return build(dataclasses.replace(config, bases={"head": bases.find(config.experiment.head)}))


def batch_of(task, split):
    return next(iter(ValidationBatches(split, task, len(split))))


def steps(task, batch, count):
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2)
    losses = []
    for _ in range(count):
        loss = task.train().loss(batch, TRAIN)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@EVERY_FAMILY
@pytest.mark.parametrize("text", ["a small red circle", "Ünïcode 日本 and 😀!", " two  spaces ", ""])
def test_pieces_of_any_text_are_read_back(tiny, family, text):
    pieces = Pieces(tiny[family])
    ids = pieces.encode(text, 100)
    assert (ids[0], ids[-1]) == (START, END)
    assert pieces.read(ids[1:-1])[0] == text.strip()
    assert pieces.encode(text, 3)[1:] == (ids[1:4] if len(ids) > 5 else ids[1:])


def test_words_know_their_pieces(tiny):
    pieces = Pieces(tiny["llama"])
    ids = pieces.encode("A small Café, 2 dogs.", 100)[1:-1]
    text, words = pieces.read(ids)
    assert text == "A small Café, 2 dogs."
    own = [number - OFFSET for number in ids]
    for word, places in words:
        joined = pieces._text(own[places[0] : places[-1] + 1]).lower()
        assert {"two": "2"}.get(word, word) in joined and len(joined.strip()) <= len(word) + 1, (word, joined)


@EVERY_FAMILY
def test_lora_learns_and_the_base_stays_as_it_is(tiny, family):
    task, split = make(tiny[family]), make_split(("image",), ())
    before = {k: v.clone() for k, v in task.decoder.model.state_dict().items() if "lora" not in k}
    losses = steps(task, batch_of(task, split), 30)
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(v, task.decoder.model.state_dict()[k]) for k, v in before.items())


@EVERY_FAMILY
def test_what_is_saved_is_small_and_read_again_as_it_was(tiny, family, tmp_path, monkeypatch):
    task, split = make(tiny[family]), make_split(("image",), ())
    steps(task, batch_of(task, split), 3)
    answers = task.eval().answer(split, EVALUATE)
    state = task.state_dict()
    assert all(name.partition(".")[0] in ("encoders", "decoder") for name in state)
    adapted = {name for name in state if name.startswith("decoder.")}
    assert all("lora" in name or "project" in name for name in adapted)
    monkeypatch.chdir(tmp_path)
    keep_bases(task.config)
    save_model(tmp_path, task.config, state, {}, {})
    assert [path.name for path in (tmp_path / BASES / "head").iterdir()] == ["base.json"]
    again = load_model(tmp_path, CPU)
    assert again.answer(split, EVALUATE) == answers


def greedy(task, batch):
    return search(task.decoder, task._seen(batch), Search(1, 12, 0.0))


@EVERY_FAMILY
def test_greedy_writing_is_that_of_transformers(tiny, family):
    task, split = make(tiny[family], prompt="in the picture"), make_split(("image",), ())
    batch = batch_of(task, split)
    steps(task, batch, 5)
    task.eval()
    model, pieces = task.decoder.model, task.decoder.pieces
    with torch.no_grad():
        grid = task.encode(batch)["image"].x_BLD
        embed = model.get_input_embeddings()
        ids = torch.tensor([pieces.ids("in the picture")])
        prefix = torch.cat([task.decoder.prefixes.project(grid), embed(ids).expand(len(grid), -1, -1)], 1)
        out = model.generate(
            inputs_embeds=prefix,
            attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=pieces.end,
            pad_token_id=pieces.end,
        )
    for caption, theirs in zip(greedy(task, batch), out.tolist(), strict=True):
        written = theirs[: theirs.index(pieces.end)] if pieces.end in theirs else theirs
        assert [number - OFFSET for number in caption.ids] == written
        assert np.allclose(np.sum(caption.attention, axis=1) <= 1 + 1e-5, True)


@EVERY_FAMILY
def test_a_batch_writes_as_one_by_one(tiny, family):
    task, split = make(tiny[family]), make_split(("image",), ())
    batch = batch_of(task, split)
    steps(task, batch, 5)
    task.eval()
    with torch.no_grad():
        together = greedy(task, batch)
        for i, caption in enumerate(together):
            alone = greedy(task, {name: value[i : i + 1] for name, value in batch.items()})[0]
            assert alone.ids == caption.ids
            np.testing.assert_allclose(alone.log_probs, caption.log_probs, atol=1e-4)


def test_the_loss_of_a_caption_is_that_of_the_model_alone(tiny):
    task, split = make(tiny["llama"]), make_split(("image",), ())
    batch = batch_of(task, split)
    decoder = task.eval().decoder
    with torch.no_grad():
        loss = task.loss(batch).item()
        grid, nll, count = task.encode(batch)["image"].x_BLD, 0.0, 0
        for image, captions in zip(grid, batch["captions"], strict=True):
            for caption in captions[(captions != 0).any(1)]:
                own = [decoder.pieces.end if n == END else n - OFFSET for n in caption.tolist() if n > START]
                ids = torch.tensor([[decoder.pieces.start, *own]])
                given = torch.cat(
                    [decoder.prefixes.project(image[None]), decoder.model.get_input_embeddings()(ids[:, :-1])], 1
                )
                logits = decoder.model(inputs_embeds=given).logits[0, len(image) :]
                nll += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
                count += len(own)
    assert loss == pytest.approx(nll / count, rel=1e-4)


def test_a_copy_shares_what_is_frozen_and_learns_by_itself(tiny):
    task = make(tiny["llama"])
    other = copy.deepcopy(task)
    frozen, adapter = (
        task.decoder.model.get_input_embeddings().weight,
        next(iter(task.decoder.adapter.weights.values())),
    )
    assert other.decoder.model.get_input_embeddings().weight is frozen
    own = next(iter(other.decoder.adapter.weights.values()))
    assert own is not adapter
    assert any(own is weight for weight in other.decoder.model.parameters())


@EVERY_FAMILY
def test_lora_merged_into_the_weights_writes_the_same(tiny, family):
    task, split = make(tiny[family]), make_split(("image",), ())
    batch = batch_of(task, split)
    steps(task, batch, 5)
    task.eval()
    with torch.no_grad():
        before = greedy(task, batch)
        layers = [part for part in task.decoder.model.modules() if hasattr(part, "merge")]
        for part in layers:
            part.merge()
        assert layers and all(part.merged for part in layers)
        for caption, merged in zip(before, greedy(task, batch), strict=True):
            assert caption.ids == merged.ids
            np.testing.assert_allclose(caption.log_probs, merged.log_probs, atol=1e-3)


def test_frozen_means_that_the_projector_alone_learns(tiny):
    task = make(tiny["gpt2"], train="frozen")
    assert not task.decoder.adapter.weights
    losses = steps(task, batch_of(task, make_split(("image",), ())), 30)
    assert losses[-1] < 0.8 * losses[0]


def test_two_modalities_are_one_prefix(tiny):
    task = make(tiny["llama"], ("image", "audio"))
    split = make_split(("image", "audio"), (), lacking=[("audio", 0), ("image", 1)])
    losses = steps(task, batch_of(task, split), 10)
    assert losses[-1] < losses[0]


def test_layers_that_are_not_there_are_named(tiny):
    lora = {**LORA, "targets": ["nope"]}
    with pytest.raises(InputError, match=r"lora.targets: nope: .*; it has .*down_proj.*q_proj"):
        make(tiny["llama"], lora=lora)


def test_a_model_that_writes_nothing_is_refused(tmp_path):
    folder = write_tiny("vit", tmp_path / "vit")
    with pytest.raises(InputError, match="has no word pieces"):
        LanguageModel(folder, LanguageModelParams(name="language_model", model=str(folder)), 16)
