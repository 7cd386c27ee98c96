"""Hugging Face models over images and sounds, one tiny model a family: features equal those of the model itself."""

import io
import wave
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from stages.base.device import Device
from stages.base.errors import InputError
from stages.extractors import extractor as extractor_of
from stages.extractors import load_extractor
from tests.support.tiny_models import HIDDEN, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
IMAGES = {"clip": 1, "siglip": 0, "vit": 1, "dinov2": 1, "dinov2_registers": 3, "convnext": 0}
"""Families with the number of tokens that stand before the cells."""
SOUNDS = ("whisper", "wav2vec2", "hubert", "ast", "clap")
CONTRASTIVE = ("clip", "siglip", "clap")
RATE_HZ = 8000


def make(folder, modality, level="token", layer=-1, **own):
    own = {"image": {"pool": 1}, "audio": {"seconds": 0.5}, "text": {"max_words": 8}}[modality] | own
    named = {"model": str(folder), "revision": "", "modality": modality}
    params = SimpleNamespace(**named, level=level, layer=layer, **own)
    return extractor_of("huggingface").from_params(params, CPU, "features.x", None)


@pytest.fixture(autouse=True)
def project(tmp_path_factory, monkeypatch):
    """Models are kept in a project of the test's own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def wav(seed, seconds):
    samples = np.random.default_rng(seed).normal(0, 3000, round(seconds * RATE_HZ)).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE_HZ, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


def features(extractor, *media):
    return extractor.extract(np.stack([extractor.decode(item) for item in media]))


@torch.no_grad()
def of_the_model(folder, data):
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = processor(images=Image.open(io.BytesIO(data)), return_tensors="pt")
    part = getattr(model, "vision_model", model)
    return part(**pixels, output_hidden_states=True), model, pixels


@pytest.mark.parametrize("name", IMAGES)
def test_cells_are_those_of_the_model_rows_first(tiny, name):
    got = features(make(tiny(name), "image"), png(1), png(2))
    assert (got.dtype, got.shape[::2]) == (np.float16, (2, HIDDEN))
    own = of_the_model(tiny(name), png(2))[0].last_hidden_state[0]
    own = own.permute(1, 2, 0).flatten(0, 1) if own.ndim == 3 else own[IMAGES[name] :]
    assert len(own) == got.shape[1]
    np.testing.assert_allclose(got[1], own.numpy(), atol=5e-3)


@pytest.mark.parametrize("name", IMAGES)
def test_the_pooled_vector_is_the_class_token_or_the_mean_or_what_is_compared(tiny, name):
    got = features(make(tiny(name), "image", "pooled"), png(1))[0]
    own, model, pixels = of_the_model(tiny(name), png(1))
    if name in CONTRASTIVE:
        with torch.no_grad():
            expected = model.get_image_features(**pixels).pooler_output[0]
    elif IMAGES[name]:
        expected = own.last_hidden_state[0, 0]
    else:
        expected = own.last_hidden_state[0].flatten(1).mean(1)
    np.testing.assert_allclose(got, expected.numpy(), atol=5e-3)


@pytest.mark.parametrize("name", ["clip", "dinov2_registers"])
def test_four_cells_become_one(tiny, name):
    fine, coarse = (
        features(make(tiny(name), "image"), png(1))[0],
        features(make(tiny(name), "image", pool=2), png(1))[0],
    )
    assert (len(fine), len(coarse)) == (16, 4)
    np.testing.assert_allclose(coarse[1], fine[[2, 3, 6, 7]].astype(float).mean(0), atol=2e-3)
    with pytest.raises(InputError, match="does not take an image alone, with .* pool 3: 4 x 4 cells, which 3 does not"):
        make(tiny(name), "image", pool=3)


def test_a_layer_of_an_image_model(tiny):
    got = features(make(tiny("clip"), "image", layer=-2), png(1))[0]
    own = of_the_model(tiny("clip"), png(1))[0].hidden_states[-2][0, 1:]
    np.testing.assert_allclose(got, own.numpy(), atol=5e-3)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("level", ["token", "pooled"])
def test_sounds_in_a_batch_are_as_one_by_one_and_survive_saving(tiny, tmp_path, name, level):
    extractor = make(tiny(name), "audio", level)
    sounds = [wav(1, 0.5), wav(2, 0.2), wav(3, 0.9)]
    together = features(extractor, *sounds)
    assert np.isfinite(together).all() and np.ptp(together[0]) > 0
    for row, sound in zip(together, sounds, strict=True):
        np.testing.assert_allclose(features(extractor, sound)[0], row, atol=2e-3)
    assert [extractor.exceeds(sound) for sound in sounds] == [False, False, True]
    extractor.save(tmp_path)
    again = load_extractor(tmp_path, CPU)
    assert (again.identity(), again.shape) == (extractor.identity(), together.shape[1:])
    np.testing.assert_array_equal(features(again, *sounds), together)


def test_moments_are_those_of_whisper_and_zero_behind_the_sound(tiny):
    folder = tiny("whisper")
    got = features(make(folder, "audio", seconds=1.0), wav(1, 0.5))[0]
    assert got.shape == (50, HIDDEN), "a window of 2 s has 100 moments"
    assert not got[25:].any() and got[:25].any(-1).all()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    from stages.media.audio import decode_audio

    sound = processor(decode_audio(wav(1, 0.5), 16000), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        own = model.get_encoder()(sound["input_features"]).last_hidden_state[0, :25]
    np.testing.assert_allclose(got[:25], own.numpy(), atol=5e-3)


def test_what_is_compared_of_a_sound(tiny):
    folder = tiny("clap")
    got = features(make(folder, "audio", "pooled"), wav(1, 0.5))[0]
    assert got.shape == (12,)
    np.testing.assert_allclose(np.linalg.norm(got.astype(float)), 1, atol=2e-2)


def test_a_window_that_is_too_short_is_refused(tiny):
    with pytest.raises(InputError, match="features.x.model: .*: hears 2 s at once, fewer than seconds: 3"):
        make(tiny("whisper"), "audio", seconds=3.0)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_texts_of_a_contrastive_model_lie_in_its_space(tiny, name):
    folder = tiny(name)
    extractor = make(folder, "text", "pooled", max_words=32)
    got = features(extractor, b"a dog runs", b"two")[1]
    model, tokenizer = (t.from_pretrained(folder) for t in (transformers.AutoModel, transformers.AutoTokenizer))
    padding = {"padding": "max_length", "max_length": 32} if name == "siglip" else {}
    given = tokenizer("two", return_tensors="pt", **padding)
    mask = {} if name == "siglip" else {"attention_mask": given["attention_mask"]}
    with torch.no_grad():
        own = model.eval().get_text_features(input_ids=given["input_ids"], **mask).pooler_output[0]
    np.testing.assert_allclose(got, own.numpy(), atol=5e-3)


@pytest.mark.parametrize(
    "name, modality, words",
    [
        ("clip", "audio", "encodes image and text, not audio"),
        ("clap", "image", "encodes audio and text, not image"),
        ("whisper", "image", "has no preprocessor|does not take an image|cannot be read"),
        ("vit", "audio", "has no preprocessor|does not take|cannot be read"),
        ("bert", "image", "has no preprocessor: no preprocessor_config.json or processor_config.json in "),
    ],
)
def test_a_model_of_another_modality_is_refused(tiny, name, modality, words):
    with pytest.raises(InputError, match=f"features.x.model: .*: (?:{words})"):
        make(tiny(name), modality)


def test_a_processor_of_another_model_is_refused(tiny, tmp_path):
    folder = write_tiny("vit", tmp_path / "mixed")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    with pytest.raises(InputError, match="does not take an image alone, .*64"):
        make(folder, "image")
