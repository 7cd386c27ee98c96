"""One contract for every family of Hugging Face models that can be an encoder, whatever it reads."""

import copy
import dataclasses
import io
import wave

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import BASES_PLACE
from stages.extractors.model_input import AudioModelInput, TextModelInput
from stages.models.adapters import LORA
from stages.models.encoders.base import FeatureSpec
from stages.models.model import BASES, build, keep_bases, load_model, save_model
from stages.models.tables import PRESENT, FeatureTable, Split
from stages.packaging.predictor import Predictor, PredictSettings
from stages.params import LoraParams
from stages.pretrained import bases
from stages.training.module import TrainingModule
from tests.support.small_splits import make_config, make_rows, project_params
from tests.support.tiny_models import write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytest.importorskip("peft", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
FAMILIES = [
    *(("image", name) for name in ("clip", "siglip", "vit", "dinov2", "dinov2_registers", "convnext")),
    *(("text", name) for name in ("bert", "clip", "siglip", "clap")),
    *(("audio", name) for name in ("whisper", "wav2vec2", "hubert", "ast", "clap")),
]
EVERY_FAMILY = pytest.mark.parametrize(("modality", "name"), FAMILIES, ids=lambda value: value)
CANNOT_CHECKPOINT = {("audio", "clap"), ("text", "clap"), ("image", "convnext")}
BEHIND = ("pooler", "post_layernorm", "head.", "layernorm.")  # what some put behind the last layer, for other uses
TRAIN = project_params().train.model_copy(update={"learning_rate": 1e-2, "pretrained_learning_rate": 1e-3})
PIECES, SECONDS, SIZE_PX = 8, 0.5, 32
TEXTS = ["a dog runs", "two", "two dogs run", "dog", "a a a", "runs a dog", "two two dog", "a"]


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv(BASES_PLACE, str(tmp_path / "bases"))


def sound(number):
    """Make a WAV of 0.1 to 0.45 s."""
    samples = np.random.default_rng(number).normal(0, 3000, 800 + 400 * number).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


def read(modality, folder):
    """Return features of eight media, and what they are."""
    if modality == "image":
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(0, 256, (8, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8, generator=generator)
        return images, FeatureSpec((SIZE_PX, SIZE_PX, 3))
    if modality == "text":
        extractor, media = TextModelInput(folder, PIECES), [text.encode() for text in TEXTS]
    else:
        extractor, media = AudioModelInput(folder, SECONDS), [sound(i) for i in range(8)]
    found = extractor.extract(np.stack([extractor.decode(medium) for medium in media]))
    assert found.shape[1:] == extractor.shape and str(found.dtype) == extractor.dtype
    return torch.from_numpy(found), FeatureSpec(extractor.shape, input_of=extractor.identity()["input_of"])


def make(modality, folder, spec, train="lora", alone=False, **changes):
    """Build a classifier of this modality, and of sounds or images beside it."""
    torch.manual_seed(0)
    named = {"name": "huggingface", "model": str(folder), "train": train, "last_layers": 1, **changes}
    other = "audio" if modality != "audio" else "image"
    used, encoders = ((modality,), {}) if alone else ((modality, other), {other: "cnn"})
    config = make_config("classify", used, encoders=encoders | {modality: named})
    found = {f"encoders.{modality}": bases.find(getattr(config.experiment.encoders, modality))}
    return build(dataclasses.replace(config, features=config.features | {modality: spec}, bases=found))


def encoder_of(tiny, modality, name, train="lora", **changes):
    features, spec = read(modality, tiny(name))
    return make(modality, tiny(name), spec, train, **changes).encoders[modality].eval(), features


@EVERY_FAMILY
@pytest.mark.parametrize("train", ["frozen", "lora", "last_layers", "all"])
def test_shapes_and_gradients_where_they_are_asked_for_and_nowhere_else(tiny, modality, name, train):
    encoder, x = encoder_of(tiny, modality, name, train)
    sequence = encoder(x)
    real = encoder.real(x, sequence.shape[1])
    assert sequence.shape == (8, sequence.shape[1], 16) and real.shape == sequence.shape[:2] and real.any(1).all()
    (sequence * torch.randn(sequence.shape) * real.unsqueeze(-1)).sum().backward()
    learns = {n: p.grad is not None and bool(p.grad.abs().sum()) for n, p in encoder.adapter.model.named_parameters()}
    if train == "frozen":
        assert not any(learns.values())
    elif train == "lora":
        assert {n for n, moves in learns.items() if moves} <= {n for n in learns if LORA in n}
        assert all(moves for n, moves in learns.items() if "lora_B" in n and not any(b in n for b in BEHIND))
    else:
        still = {n for n, moves in learns.items() if not moves and encoder.adapter.model.get_parameter(n).requires_grad}
        assert any(learns.values()) and all(any(b in n for b in BEHIND) or is_dead(n) for n in still), still
    assert encoder.project.weight.grad.abs().sum() > 0


def is_dead(name):
    """Tell whether a weight has no effect by nature: biases of keys, positions never used, masks of training."""
    return name.endswith(("k_proj.bias", "key.bias", "masked_spec_embed", "mask_token")) or "embeddings" in name


@EVERY_FAMILY
def test_a_sample_does_not_see_the_others_of_its_batch(tiny, modality, name):
    encoder, x = encoder_of(tiny, modality, name)
    with torch.no_grad():
        together = encoder(x)
        for i in range(len(x)):
            torch.testing.assert_close(encoder(x[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)


@EVERY_FAMILY
def test_a_missing_medium_is_not_real_and_harms_no_gradient(tiny, modality, name):
    features, spec = read(modality, tiny(name))
    task = make(modality, tiny(name), spec)
    features[1] = 0
    there = torch.ones(8, dtype=torch.bool)
    there[1] = False
    other = next(m for m in task.encoders if m != modality)
    beside = torch.from_numpy(blank(task, other)).repeat_interleave(8, 0)
    batch = {modality: features, modality + PRESENT: there, other: beside, other + PRESENT: torch.ones_like(there)}
    found = task.encode(batch)[modality]
    assert found.present_B.tolist() == there.tolist() and found.x_BLD.isfinite().all()
    task.loss(batch | {"label": torch.arange(8) % 3}).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def blank(task, modality):
    """Return features of a medium of which nothing is to be learnt."""
    return np.zeros((1, *task.config.features[modality].shape), np.uint8 if modality == "image" else np.float16)


def split_of(task, modality, features):
    tables = {m: FeatureTable(blank(task, m), [[0]] * 8, CPU, 1e9) for m in task.config.features if m != modality}
    tables[modality] = FeatureTable(features.numpy(), [[i] for i in range(8)], CPU, 1e9)
    return Split(make_rows(), {m: tables[m] for m in task.config.features})


def learn(task, split, count=8):
    """Take steps on the whole split; return first and last loss."""
    _, _, batch = next(iter(split.in_order(8)))
    batch["label"] = torch.arange(8) % 3
    optimizer = TrainingModule(task, TRAIN, count, split).configure_optimizers()["optimizer"]
    losses = []
    for _ in range(count):
        loss = task.train().loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


@EVERY_FAMILY
@pytest.mark.parametrize("train", ["frozen", "lora", "last_layers", "all"])
def test_what_was_asked_for_learns_and_is_read_again_as_it_was(tiny, tmp_path, modality, name, train):
    features, spec = read(modality, tiny(name))
    task = make(modality, tiny(name), spec, train)
    split, model = split_of(task, modality, features), task.encoders[modality].adapter.model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first, last = learn(task, split)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert last < first and bool(changed) == (train != "frozen")
    assert all((LORA in key) == (train == "lora") for key in changed)
    answers = task.eval().answer(split, project_params().evaluate)
    keep_bases(task.config)
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", task.config, task.state_dict(), {}, {})
    assert [path.name for path in (tmp_path / "model" / BASES / f"encoders.{modality}").iterdir()] == ["base.json"]
    again = load_model(tmp_path / "model", CPU).answer(split, project_params().evaluate)
    assert [a["probabilities"] for a in again] == [a["probabilities"] for a in answers]


@pytest.mark.parametrize(("modality", "name"), [("text", "bert"), ("audio", "whisper"), ("audio", "wav2vec2")])
def test_a_version_answers_about_raw_media_without_any_other_folder(tmp_path, modality, name):
    source, made, version = (tmp_path / part for part in ("source", "made", "version"))
    write_tiny(name, source)
    made.mkdir(), version.mkdir()
    extractor = TextModelInput(source, PIECES) if modality == "text" else AudioModelInput(source, SECONDS)
    extractor.save(made)
    media = [text.encode() for text in TEXTS] if modality == "text" else [sound(i) for i in range(8)]
    features, spec = read(modality, source)
    task = make(modality, source, spec, alone=True).eval()
    with torch.no_grad():
        batch = {modality: features, modality + PRESENT: torch.ones(8, dtype=torch.bool)}
        expected = task.predict(batch, None)
    keep_bases(task.config)
    save_model(version, task.config, task.state_dict(), {modality: made}, {})
    source.rename(tmp_path / "elsewhere")
    predictor = Predictor.load(version, PredictSettings(project_params().evaluate, 50.0, 60.0), CPU)
    answers = predictor.predict([{modality: medium} for medium in media])
    np.testing.assert_allclose([a["probabilities"] for a in answers], [a["probabilities"] for a in expected], atol=1e-5)


@EVERY_FAMILY
def test_what_is_pretrained_and_what_is_new_have_their_own_learning_rates(tiny, modality, name):
    _, spec = read(modality, tiny(name))
    for train, rate in (("all", 1e-3), ("last_layers", 1e-3), ("lora", 1e-2)):
        task = make(modality, tiny(name), spec, train)
        groups = TrainingModule(task, TRAIN, 5, Split(make_rows(), {})).configure_optimizers()["optimizer"].param_groups
        rates = {id(weight): group["initial_lr"] for group in groups for weight in group["params"]}
        assert {rates[id(weight)] for weight in task.encoders[modality].adapter.weights.values()} == {rate}
        assert rates[id(task.encoders[modality].project.weight)] == 1e-2


@EVERY_FAMILY
def test_lora_merged_into_the_weights_gives_the_same(tiny, modality, name):
    encoder, x = encoder_of(tiny, modality, name, lora={"rank": 4, "alpha": 8.0})
    layers = [part for part in encoder.adapter.model.modules() if hasattr(part, "merge")]
    for part in layers:
        torch.nn.init.normal_(part.lora_B["default"].weight, std=0.1)
    plain, merged = copy.deepcopy(encoder), encoder
    with torch.no_grad():
        expected = plain(x)
        for part in layers:
            part.merge()
        assert layers and all(part.merged for part in layers)
        torch.testing.assert_close(merged(x), expected, atol=1e-4, rtol=1e-4)


@EVERY_FAMILY
@pytest.mark.parametrize("train", ["lora", "all"])
def test_gradients_with_few_activations_kept_are_the_same_to_the_bit(tiny, modality, name, train):
    if (modality, name) in CANNOT_CHECKPOINT:
        with pytest.raises(InputError, match="gradient_checkpointing: .* does not support .*; set it to false"):
            encoder_of(tiny, modality, name, train, gradient_checkpointing=True)
        return
    grads = []
    for few in (False, True):
        encoder, x = encoder_of(tiny, modality, name, train, gradient_checkpointing=few)
        torch.manual_seed(3)
        encoder.train()(x).square().sum().backward()
        grads.append({n: p.grad for n, p in encoder.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all(torch.equal(grad, grads[1][n]) for n, grad in grads[0].items())


@pytest.mark.parametrize(("modality", "name"), [("text", "bert"), ("audio", "whisper")])
def test_features_of_another_model_s_input_are_refused(tiny, modality, name):
    _, spec = read(modality, tiny(name))
    part = {"text": "tokenizer", "audio": "preprocessor"}[modality]
    words = f"encoders.{modality}: .*{name}: its features were made by the {part} of another model"
    with pytest.raises(InputError, match=words):
        make(modality, tiny(name), dataclasses.replace(spec, input_of="0" * 64))
    with pytest.raises(InputError, match=f"encoders.{modality}: .*: reads features of the extractor model_input"):
        make(modality, tiny(name), dataclasses.replace(spec, input_of=""))


def test_a_text_longer_than_the_model_reads_is_refused(tiny):
    _, spec = read("text", tiny("bert"))
    with pytest.raises(InputError, match="encoders.text: .*bert: does not take texts of 33 word pieces"):
        make("text", tiny("bert"), dataclasses.replace(spec, shape=(33,)))


def test_a_sound_longer_than_whisper_hears_is_refused(tiny):
    _, spec = read("audio", tiny("whisper"))
    with pytest.raises(InputError, match="encoders.audio: .*: hears 100 moments at once, fewer than the 101 of its"):
        make("audio", tiny("whisper"), dataclasses.replace(spec, shape=(16, 203)))


def test_whisper_hears_as_long_as_its_features_are(tiny):
    """With the whole window its moments are those of transformers' own encoder."""
    extractor = AudioModelInput(tiny("whisper"), 2.0)
    x = torch.from_numpy(extractor.decode(sound(7))[None])
    spec = FeatureSpec(extractor.shape, input_of=extractor.identity()["input_of"])
    encoder = make("audio", tiny("whisper"), spec, "frozen").encoders["audio"].eval()
    own = transformers.AutoModel.from_pretrained(tiny("whisper")).eval().get_encoder()
    with torch.no_grad():
        expected = own(x[..., :-1].float()).last_hidden_state
        torch.testing.assert_close(encoder.hidden(x), expected)
    assert encoder.real(x, 100).sum() == 23, "0.45 s of 2 s"
    short, spec = read("audio", tiny("whisper"))
    assert make("audio", tiny("whisper"), spec).encoders["audio"](short).shape[1] == 25


def test_words_are_those_of_the_model_whatever_stands_behind_them(tiny):
    encoder, x = encoder_of(tiny, "text", "bert", "frozen")
    own = transformers.AutoModel.from_pretrained(tiny("bert")).eval()
    with torch.no_grad():
        expected = own(input_ids=torch.tensor([[2, 4, 5, 6, 7, 3]])).last_hidden_state[0]
        torch.testing.assert_close(encoder.hidden(x)[0, :6], expected, atol=1e-5, rtol=1e-5)


def test_lora_s_layers_are_listed_where_none_is_of_the_name(tiny):
    assert LoraParams().targets == ["all-linear"]
    with pytest.raises(InputError, match=r"encoders.text: .*: lora.targets: nonsense: .*; it has dense, key, query"):
        encoder_of(tiny, "text", "bert", lora={"targets": ["nonsense"]})


@pytest.mark.parametrize(
    ("modality", "name", "last"),
    [
        ("image", "vit", ("layers.1.", "layernorm.")),
        ("image", "convnext", ("encoder.stages.1.layers.1.", "layernorm.")),
        ("text", "bert", ("encoder.layer.1.",)),
        ("audio", "wav2vec2", ("encoder.layers.2.",)),
        ("audio", "clap", ("audio_encoder.layers.1.blocks.1.",)),
    ],
)
def test_only_the_last_layers_learn(tiny, modality, name, last):
    encoder, _ = encoder_of(tiny, modality, name, "last_layers")
    learns = {n for n, weight in encoder.adapter.model.named_parameters() if weight.requires_grad}
    assert learns and all(n.startswith(last) for n in learns), learns
    with pytest.raises(InputError, match=rf"encoders.{modality}: .*: has \d layers, fewer than last_layers: 9"):
        encoder_of(tiny, modality, name, "last_layers", last_layers=9)


def test_a_copy_shares_what_is_frozen(tiny):
    encoder, _ = encoder_of(tiny, "image", "clip")
    mine, theirs = (dict(e.adapter.model.named_parameters()) for e in (encoder, copy.deepcopy(encoder)))
    assert all((mine[name] is theirs[name]) == (LORA not in name) for name in mine)


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(InputError, match="encoders.image: .*vit: does not take images of 40 x 40 px"):
        make("image", tiny("vit"), FeatureSpec((40, 40, 3)))
