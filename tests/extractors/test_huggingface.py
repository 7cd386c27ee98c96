"""Hugging Face models over texts, by a tiny BERT of random weights: read, run, saved, and read without a network."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError, MediaError
from stages.extractors import extractor as extractor_of
from stages.extractors.huggingface import HuggingFace
from tests.support.tiny_models import HIDDEN, PIECES, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
CLS, SEP = 2, 3


def write_bert(folder):
    """Write a BERT of two layers over nine word pieces, with at most 32 places."""
    write_tiny("bert", folder)
    (folder / "optimizer.pt").write_bytes(b"what a training left")
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def no_network(tmp_path_factory, monkeypatch):
    """Whatever asks for a connection fails at once; models are kept in a project of the test's own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))

    def refuse(*_, **__):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def make(folder, level="token", max_words=8, layer=-1, revision=""):
    named = {"model": str(folder), "revision": revision, "modality": "text"}
    params = SimpleNamespace(**named, level=level, layer=layer, max_words=max_words)
    return extractor_of("huggingface").from_params(params, CPU, "features.x", None)


def features(extractor, *texts: str) -> np.ndarray:
    return extractor.extract(np.stack([extractor.decode(text.encode()) for text in texts]))


def test_a_text_becomes_its_word_pieces_cut_with_their_end_kept(bert):
    extractor = make(bert)
    assert extractor.decode(b"A dog runs").tolist() == [CLS, 4, 5, 6, 7, SEP, -1, -1]
    assert extractor.decode(b"two two two two two two two two two").tolist() == [CLS, *[8] * 6, SEP]
    assert extractor.decode(b"").tolist() == [CLS, SEP, *[-1] * 6]


def test_vectors_are_those_of_the_model_and_zero_behind_the_text(bert):
    got = features(make(bert), "a dog", "two dogs run")
    assert (got.shape, got.dtype) == ((2, 8, HIDDEN), np.float16)
    model = transformers.AutoModel.from_pretrained(bert).eval()
    for row, ids in zip(got, ([CLS, 4, 5, SEP], [CLS, 8, 5, 7, 6, SEP]), strict=True):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()  # no padding, no mask
        np.testing.assert_allclose(row[: len(ids)], alone, atol=2e-3)
        assert not row[len(ids) :].any()


def test_the_pooled_vector_is_the_mean_over_the_text_alone(bert):
    extractor = make(bert, "pooled")
    tokens, pooled = features(make(bert), "a dog", "two"), features(extractor, "a dog", "two")
    assert pooled.shape == (2, *extractor.shape) == (2, HIDDEN)
    np.testing.assert_allclose(pooled[0], tokens[0, :4].astype(float).mean(0), atol=2e-3)
    np.testing.assert_allclose(pooled[1], tokens[1, :3].astype(float).mean(0), atol=2e-3)


@pytest.mark.parametrize("level", ["pooled", "token"])
def test_save_and_load_needs_no_other_folder(level, tmp_path):
    source, saved = tmp_path / "source", tmp_path / "saved"
    source.mkdir()
    saved.mkdir()
    extractor = make(write_bert(source), level)
    before = features(extractor, "a dog", "two dogs")
    extractor.save(saved)
    source.rename(tmp_path / "elsewhere")
    again = HuggingFace.load(saved, CPU)
    np.testing.assert_array_equal(features(again, "a dog", "two dogs"), before)
    assert again.identity() == extractor.identity() and again.shape == extractor.shape
    assert {path.name for path in saved.iterdir()} == {"extractor.json", "base.json"}


def test_weights_tokenizer_level_length_and_precision_are_in_the_identity(bert, tmp_path):
    other = write_bert(tmp_path / "other")
    assert make(other).identity() == make(bert).identity(), "the same files elsewhere are the same model"
    (other / "vocab.txt").write_text("\n".join([*PIECES[:-1], "three"]))
    changed = [make(other), make(bert, "pooled"), make(bert, max_words=9), make(bert, layer=0)]
    precise = make(bert)
    precise._device = Device(torch.device("cpu"), torch.bfloat16)
    identities = [e.identity() for e in (make(bert), *changed, precise)]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == 6


def test_threads_may_decode_at_once(bert):
    extractor = make(bert)
    texts = [f"{'two ' * (i % 5)}dogs".encode() for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(extractor.decode, texts))
    np.testing.assert_array_equal(together, [extractor.decode(text) for text in texts])


def test_bytes_that_are_no_text_are_refused(bert):
    with pytest.raises(MediaError, match="text is not UTF-8"):
        make(bert).decode(b"\xff")


def drop_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def drop_a_layer(folder):
    from safetensors.torch import load_file, save_file

    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if "layer.1" not in name}
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def drop_tokenizer(folder):
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()


def ask_for_own_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('code of the repository was run')")


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def drop_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def take_a_larger_tokenizer(folder):
    (folder / "vocab.txt").write_text("\n".join([*PIECES, "x", "y", "z"]))


def take_another_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            drop_weights,
            "no model.safetensors in .*: optimizer.pt, pytorch_model.bin can hold code and is not read; save",
        ),
        (drop_a_layer, "its weights lack encoder.layer.1.*do not fit"),
        (drop_tokenizer, "has no word pieces: no tokenizer.json, vocab.txt"),
        (ask_for_own_code, "cannot be read: .* wants code of its own to be run, which is not done"),
        (cut_weights, r"model.safetensors is cut short or damaged"),
        (drop_a_shard, r"model.safetensors.index.json names model-2.safetensors, and 1 such files are not in"),
        (take_a_larger_tokenizer, "its tokenizer has 12 word pieces, its weights 9: files of two models"),
        (take_another_config, "cannot be read: .*size"),
    ],
)
def test_a_model_that_cannot_be_used_is_named(spoil, message, tmp_path):
    spoil(write_bert(tmp_path))
    with pytest.raises(InputError, match=rf"(?s)features.x.model: {tmp_path}: {message}"):
        make(tmp_path)


def test_a_text_longer_than_the_model_reads_is_refused(bert):
    words = "features.x.model: .* does not take a text alone, with level token, layer -1, max_words 33: "
    with pytest.raises(InputError, match=words):
        make(bert, max_words=33)


def test_a_layer_is_that_of_the_model(bert):
    got = features(make(bert, layer=1), "a dog")[0, :4]
    model = transformers.AutoModel.from_pretrained(bert).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([[CLS, 4, 5, SEP]]), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(got, states[1][0].numpy(), atol=2e-3)
    with pytest.raises(InputError, match="does not take a text alone, with level token, layer 7"):
        make(bert, layer=7)


def test_a_name_that_is_neither_folder_nor_model_is_refused():
    with pytest.raises(InputError, match="features.x.model: /no/such/folder: no such folder, and no name of a model"):
        make("/no/such/folder", revision="0" * 40)


@pytest.mark.parametrize("revision", ["", "main", "0" * 39, "A" * 40])
def test_a_name_needs_the_revision_that_fixes_it(revision):
    with pytest.raises(InputError, match=rf"a name on the hub needs `revision`, .* \(got '{revision}'\)"):
        make("some/model", revision=revision)


def test_a_folder_has_no_revision(bert):
    with pytest.raises(InputError, match="is a folder, which has no revision 0000.*; leave `revision` empty"):
        make(bert, revision="0" * 40)


def test_without_a_network_the_files_are_named(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("socket.socket.connect", unreachable)
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    with pytest.raises(InputError, match=r"revision 00000000 could not be fetched .* put its config.json, \*.safe"):
        make("some/model", revision="0" * 40)


def test_without_the_package_the_extra_is_named(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs the package transformers; `pip install fuseline\[huggingface\]`"):
        make(bert)
