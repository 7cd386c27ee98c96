"""A recogniser of other people's: it writes as the model itself does, one by one or in batches, and stands as a row."""

import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages import evaluate
from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import METRICS, artifact_path
from stages.media.audio import decode_audio
from stages.params import load_params
from stages.reports.recogniser import Recogniser
from tests.support.small_data import sound
from tests.support.tiny_models import LETTERS, write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytestmark = pytest.mark.filterwarnings("ignore")

CPU = Device(torch.device("cpu"), torch.float32)
SOUNDS = [sound(0.3 + 0.13 * i, 16_000, 300 + 90 * i) for i in range(10)]  # more than a batch


def recogniser(folder, name: str) -> Recogniser:
    return Recogniser(SimpleNamespace(model=str(write_tiny(name, folder / name)), revision=""), CPU)


def test_a_model_that_writes_is_read_as_it_writes_one_by_one(tmp_path):
    found = list(recogniser(tmp_path, "whisper_writer").transcribe(SOUNDS))
    folder = tmp_path / "whisper_writer"
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    pieces = transformers.AutoTokenizer.from_pretrained(folder)
    for text, data in zip(found, SOUNDS, strict=True):
        given = processor(decode_audio(data, 16_000), sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            assert text == pieces.decode(model.generate(**given)[0], skip_special_tokens=True)
    assert any(found)


def test_a_model_of_letters_at_each_moment_is_read_by_repeats_and_blanks(tmp_path):
    found = list(recogniser(tmp_path, "wav2vec2_letters").transcribe(SOUNDS[:1]))
    folder = tmp_path / "wav2vec2_letters"
    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    x = decode_audio(SOUNDS[0], 16_000)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    with torch.inference_mode():
        best = model(torch.from_numpy(x)[None]).logits[0].argmax(-1).tolist()
    letters = [LETTERS[unit] for unit, _ in itertools.groupby(best)]
    assert found == ["".join(letter for letter in letters if letter in "|abcdefgh").replace("|", " ").strip()]


def test_what_writes_down_no_speech_is_refused_by_its_kind(tmp_path):
    with pytest.raises(InputError, match="a model of kind bert writes down no speech"):
        recogniser(tmp_path, "bert")


def test_a_recogniser_stands_beside_the_model_and_leaves_its_numbers_alone(
    project_of_every_task, tmp_path, monkeypatch
):
    root = shutil.copytree(project_of_every_task, tmp_path / "project", ignore=shutil.ignore_patterns("mlflow"))
    monkeypatch.chdir(root)
    before = json.loads((artifact_path("evaluate", "transcribe") / METRICS).read_text())
    named = {"model": str(write_tiny("whisper_writer", tmp_path / "whisper")), "revision": ""}
    params = load_params()
    section = type(params.evaluate).model_validate(params.evaluate.model_dump() | {"recogniser": named})
    evaluate.run(params.model_copy(update={"evaluate": section}), "transcribe")
    after = json.loads((artifact_path("evaluate", "transcribe") / METRICS).read_text())
    row = after["baselines"].pop("recogniser")
    assert row["wer"] > 0 and row.keys() == after["baselines"]["most_frequent_transcript"].keys()
    assert after == before
