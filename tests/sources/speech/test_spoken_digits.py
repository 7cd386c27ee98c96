"""Spoken digits: both splits, and pictures of digits that keep the splits apart and hide a part of the truth."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from stages.base.errors import InputError
from stages.params import SpokenDigitsParams
from stages.sources.base import Fault, RawSample
from stages.sources.speech import spoken_digits
from stages.sources.speech.spoken_digits import AUDIO_SNR_DB, FILE, SpokenDigits, add_noise, draw_digit

RATE_HZ = 8000
SPEAKERS = ("george", "theo")


def wav(digit: int = 0, num_samples: int = 800) -> bytes:
    out = io.BytesIO()
    tone = 0.2 * np.sin(np.arange(num_samples) * 2 * np.pi * (200 + 50 * digit) / RATE_HZ)
    soundfile.write(out, tone, RATE_HZ, format="WAV", subtype="PCM_16")
    return out.getvalue()


def source(**changes) -> SpokenDigits:
    section = {"source": "spoken_digits", "folder": "none", "mirror": "", "sha256": "", "split": "official"}
    section |= {"test_speaker": "theo", "images": "none", "val_fraction": 0.0}
    return SpokenDigits(SpokenDigitsParams.model_validate(section | changes))


def write(folder: Path, digits=(0, 3), indices=range(8), more: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for digit in digits:
            for speaker in SPEAKERS:
                for index in indices:
                    archive.writestr(f"fsdd-master/recordings/{digit}_{speaker}_{index}.wav", wav(digit))
        archive.writestr("fsdd-master/README.md", "")
        for name, data in (more or {}).items():
            archive.writestr(f"fsdd-master/recordings/{name}", data)


def samples(folder: Path, **changes) -> dict[str, RawSample]:
    items = source(**changes).read(folder)
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def test_a_recording_comes_as_it_is_with_digit_and_speaker(tmp_path):
    write(tmp_path)
    found = samples(tmp_path)
    assert len(found) == 2 * 2 * 8
    assert found["3_theo_6"] == RawSample("3_theo_6", "train", audio=wav(3), label="3", group="theo")


def test_the_first_five_recordings_are_the_official_test(tmp_path):
    write(tmp_path, indices=[0, 4, 5, 10, 49])
    test = {name for name, sample in samples(tmp_path).items() if sample.split == "test"}
    assert test == {f"{digit}_{speaker}_{index}" for digit in (0, 3) for speaker in SPEAKERS for index in (0, 4)}


def test_a_split_by_speaker_keeps_all_of_the_speaker_apart(tmp_path):
    write(tmp_path)
    found = samples(tmp_path, split="speaker", val_fraction=0.3)
    assert {sample.split for sample in found.values() if sample.group == "theo"} == {"test"}
    assert {sample.split for sample in found.values() if sample.group == "george"} == {"train", "val"}


def test_an_unknown_speaker_is_named_with_those_there_are(tmp_path):
    write(tmp_path)
    with pytest.raises(
        InputError, match="test_speaker of the source spoken_digits is 'bob': the archive has george, t"
    ):
        list(source(split="speaker", test_speaker="bob").read(tmp_path))


def test_a_name_of_another_form_is_a_fault(tmp_path):
    write(tmp_path, more={"hello.wav": wav()})
    faults = [item for item in source().read(tmp_path) if isinstance(item, Fault)]
    reason = "expected a name <digit>_<speaker>_<index>.wav"
    assert faults == [Fault(f"{FILE}: fsdd-master/recordings/hello.wav", reason)]


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / FILE, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(InputError, match=r"no recordings/\*.wav in it; is it the archive of https"):
        list(source().read(tmp_path))


def test_the_fields_say_whether_there_are_images():
    assert source().fields == ("audio", "label", "group")
    assert source(images="digits").fields == ("image", "audio", "label", "group")


def test_with_images_each_recording_has_a_picture_and_the_same_run_gives_the_same_bytes(tmp_path):
    write(tmp_path)
    first, again = samples(tmp_path, images="digits"), samples(tmp_path, images="digits")
    assert first == again
    for sample in first.values():
        assert np.asarray(Image.open(io.BytesIO(sample.image))).shape == (32, 32)
        assert sample.audio != wav(int(sample.label))
    assert len({sample.image for sample in first.values()}) == len(first)


def test_no_picture_serves_two_splits():
    pictures = spoken_digits._pictures()
    assert {split for split, _ in pictures} == {"train", "val", "test"}
    assert {digit for _, digit in pictures} == set("0123456789")
    seen: dict[bytes, str] = {}
    for (split, _), images in pictures.items():
        for image in images:
            assert seen.setdefault(image.tobytes(), split) == split
    test = sum(len(images) for (split, _), images in pictures.items() if split == "test")
    assert 0.28 < test / 1797 < 0.38  # a third is held out


def test_a_picture_is_noisy_and_has_a_hidden_square():
    black = np.zeros((1, 8, 8))
    images = [np.asarray(Image.open(io.BytesIO(draw_digit(str(key), black)))) for key in range(40)]
    bright = np.mean([(image > 150).mean() for image in images])
    assert 0.01 < bright < 0.15  # of 12 % hidden, those that are painted bright
    assert 20 < np.median([image.std() for image in images]) < 90


def test_the_noise_of_a_recording_is_within_its_bounds():
    clean, _ = soundfile.read(io.BytesIO(wav(num_samples=8000)))
    found_db = []
    for key in range(20):
        noisy, rate_hz = soundfile.read(io.BytesIO(add_noise(str(key), wav(num_samples=8000))))
        assert (rate_hz, len(noisy)) == (RATE_HZ, 8000)
        found_db.append(10 * np.log10(np.square(clean).mean() / np.square(noisy - clean).mean()))
    assert min(found_db) > AUDIO_SNR_DB[0] - 0.5
    assert max(found_db) < AUDIO_SNR_DB[1] + 0.5
    assert max(found_db) - min(found_db) > 5


def test_a_broken_recording_is_a_fault_of_its_sample_and_silence_is_none(tmp_path):
    write(tmp_path, digits=(), more={"1_george_7.wav": b"RIFF....", "2_george_7.wav": wav(num_samples=0)})
    found = samples(tmp_path, images="digits")
    assert found["1_george_7"].fault.startswith("audio does not decode:")
    assert found["2_george_7"].fault is None
