"""What a Hugging Face model itself reads, stored: as its own tokenizer or preprocessor makes it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError, MediaError
from stages.extractors import extractor as extractor_of
from stages.extractors import load_extractor
from stages.media.audio import decode_audio
from tests.extractors.test_huggingface_media import wav
from tests.support.tiny_models import PIECES, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
SOUNDS = ("whisper", "wav2vec2", "hubert", "ast", "clap")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    names = ("bert", *SOUNDS)
    return {name: write_tiny(name, tmp_path_factory.mktemp("tiny") / name) for name in names}


def make(folder, modality, **own):
    own = {"text": {"max_words": 8}, "audio": {"seconds": 0.5}}[modality] | own
    params = SimpleNamespace(model=str(folder), revision="", modality=modality, **own)
    return extractor_of("model_input").from_params(params, CPU, "features.x", None)


def test_a_text_becomes_the_numbers_of_its_pieces_and_one_cut_with_their_end_kept(tiny):
    extractor = make(tiny["bert"], "text")
    assert extractor.decode(b"A dog runs").tolist() == [3, 5, 6, 7, 8, 4, 0, 0]
    assert extractor.decode(b"two two two two two two two").tolist() == [3, *[9] * 6, 4]
    assert (extractor.shape, extractor.dtype, extractor.longest) == ((8,), "int32", "8 word pieces")
    assert [extractor.exceeds(text) for text in (b"two " * 6, b"two " * 7)] == [False, True]
    with pytest.raises(MediaError, match="text is not UTF-8"):
        extractor.decode(b"\xff")


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_what_the_model_s_own_processor_makes_with_its_share_behind(tiny, name):
    extractor, data = make(tiny[name], "audio"), wav(1, 0.2)
    got = extractor.decode(data)
    assert (got.shape, str(got.dtype)) == (extractor.shape, "float16")
    processor = transformers.AutoFeatureExtractor.from_pretrained(tiny[name])
    rate = processor.sampling_rate
    fixed = {"padding": "max_length", "max_length": rate // 2} if name not in ("ast", "clap") else {}
    own = processor(decode_audio(data, rate), sampling_rate=rate, return_tensors="np", **fixed)
    own = own["input_features" if "input_features" in own else "input_values"][0]
    np.testing.assert_allclose(got[..., :-1].astype(np.float32), own, atol=2e-3, rtol=2e-3)
    window = {"ast": 0.64, "clap": 2.0}.get(name, 0.5)
    np.testing.assert_allclose(got[..., -1].astype(np.float32), 0.2 / window, rtol=1e-3)
    assert [extractor.exceeds(wav(1, seconds)) for seconds in (0.5, 0.6)] == [False, True]


@pytest.mark.parametrize(("name", "modality"), [("bert", "text"), *((name, "audio") for name in SOUNDS)])
def test_it_is_read_again_without_the_model_and_named_by_what_makes_it(tiny, tmp_path, name, modality):
    extractor = make(tiny[name], modality)
    extractor.save(tmp_path)
    assert not list(tmp_path.glob("*.safetensors")), "weights do not travel with it"
    again = load_extractor(tmp_path, CPU)
    medium = b"two dogs" if modality == "text" else wav(2, 0.3)
    np.testing.assert_array_equal(again.decode(medium), extractor.decode(medium))
    assert (again.identity(), again.shape) == (extractor.identity(), extractor.shape)


def test_another_tokenizer_or_length_is_another_input_and_other_weights_are_not(tiny, tmp_path):
    other = write_tiny("bert", tmp_path / "other")
    (other / "model.safetensors").unlink()
    assert make(other, "text").identity() == make(tiny["bert"], "text").identity()
    changed = [make(tiny["bert"], "text", max_words=9)]
    (other / "vocab.txt").write_text("\n".join([*PIECES[:-1], "three"]))
    changed.append(make(other, "text"))
    found = {json.dumps(e.identity(), sort_keys=True) for e in (make(tiny["bert"], "text"), *changed)}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("name", "modality", "own", "message"),
    [
        ("whisper", "text", {}, "has no word pieces"),
        ("bert", "audio", {}, "has no preprocessor"),
        ("whisper", "audio", {"seconds": 3.0}, "hears 2 s at once, fewer than seconds: 3"),
    ],
)
def test_what_cannot_be_made_is_named(tiny, name, modality, own, message):
    with pytest.raises(InputError, match=f"features.x.model: .*{name}: {message}"):
        make(tiny[name], modality, **own)
