"""Strings of digits: the words are those that are heard, when they say they are, and no recording serves two splits."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stages.base.errors import InputError
from stages.sources.base import Fault, RawSample
from stages.sources.speech.digit_strings import WORDS
from tests.sources.speech.test_spoken_digits import RATE_HZ, samples, source, write

STRINGS = {"digits": [2, 4], "count": 60, "silence_s": [0.05, 0.2]}


def marked(digit: int, speaker: str, index: int, level: float = 0.5) -> bytes:
    """Return a recording whose steady level no other has."""
    signal = np.full(400 + 10 * index, 1000 * digit + 100 * (speaker == "theo") + index + 1, np.int16)
    out = io.BytesIO()
    soundfile.write(out, signal, RATE_HZ, format="WAV", subtype="PCM_16")
    return out.getvalue()


def write_marked(folder: Path, more: dict[str, bytes] | None = None, indices=range(12)) -> None:
    own = {
        f"{digit}_{speaker}_{index}.wav": marked(digit, speaker, index)
        for digit in range(10)
        for speaker in ("george", "theo")
        for index in indices
    }
    write(folder, digits=(), more=own | (more or {}))


def heard(sample: RawSample) -> list[np.ndarray]:
    signal, rate_hz = soundfile.read(io.BytesIO(sample.audio), dtype="int16")
    assert rate_hz == RATE_HZ
    return [signal[round(start * rate_hz) : round(end * rate_hz)] for start, end in sample.word_times]


def made(folder: Path, **changes) -> dict[str, RawSample]:
    return samples(folder, strings=STRINGS | changes.pop("strings", {}), val_fraction=0.3, **changes)


def test_a_string_says_its_recordings_word_by_word(tmp_path):
    write_marked(tmp_path)
    found = made(tmp_path)
    assert list(found) == [f"string-{index:06d}" for index in range(60)]
    for sample in found.values():
        words = sample.transcript.split()
        assert 2 <= len(words) <= 4 and len(words) == len(sample.word_times)
        for word, piece in zip(words, heard(sample), strict=True):
            assert len(set(piece)) == 1 and WORDS[piece[0] // 1000] == word
            assert len(piece) == 400 + 10 * (piece[0] % 100 - 1)  # all of the recording
            assert ("theo" if piece[0] % 1000 > 100 else "george") == sample.group
    assert {len(sample.word_times) for sample in found.values()} == {2, 3, 4}
    assert {word for sample in found.values() for word in sample.transcript.split()} == set(WORDS)


def test_between_the_words_is_silence_of_the_asked_length(tmp_path):
    write_marked(tmp_path)
    pauses = []
    for sample in made(tmp_path).values():
        signal, _ = soundfile.read(io.BytesIO(sample.audio), dtype="int16")
        assert np.count_nonzero(signal) == sum(map(len, heard(sample)))
        assert sample.word_times[0][0] == 0 and sample.word_times[-1][1] == len(signal) / RATE_HZ
        pauses += [later[0] - sooner[1] for sooner, later in pairwise(sample.word_times)]
    assert 0.05 - 1e-4 < min(pauses) < 0.07 and 0.18 < max(pauses) < 0.2 + 1e-4


@pytest.mark.parametrize("split", ["official", "speaker"])
def test_no_recording_serves_two_splits_nor_a_string_twice(tmp_path, split):
    write_marked(tmp_path)
    used: dict[int, str] = {}
    for sample in made(tmp_path, split=split, strings={"count": 300}).values():
        marks = [piece[0] for piece in heard(sample)]
        assert len(set(marks)) == len(marks)
        assert all(used.setdefault(mark, sample.split) == sample.split for mark in marks)
        if split == "speaker":
            assert (sample.group == "theo") == (sample.split == "test")
    assert set(used.values()) == {"train", "val", "test"}


def test_more_strings_leave_those_before_as_they_were(tmp_path):
    write_marked(tmp_path)
    assert list(made(tmp_path, strings={"count": 90}).values())[:60] == list(made(tmp_path).values())


def test_the_fields_are_those_of_speech_to_write_down():
    assert source(strings=STRINGS).fields == ("audio", "transcript", "word_times", "group")
    assert source(strings=STRINGS).required == ("audio", "transcript")


@pytest.mark.parametrize("broken", [b"RIFF....", marked(0, "george", 0)[:44]])
def test_a_recording_that_cannot_be_read_is_a_fault_of_the_strings_that_have_it(tmp_path, broken):
    write_marked(tmp_path, more={"9_george_12.wav": broken, "hello.wav": b""})
    found = made(tmp_path, strings={"count": 300})
    faulty = [sample for sample in found.values() if sample.fault]
    assert 0 < len(faulty) < 30
    assert all(sample.fault.startswith("fsdd-master/recordings/9_george_12.wav: ") for sample in faulty)
    items = source(strings=STRINGS).read(tmp_path)
    assert [item.where.rpartition("/")[2] for item in items if isinstance(item, Fault)] == ["hello.wav"]


def test_recordings_of_several_rates_are_not_joined(tmp_path):
    out = io.BytesIO()
    soundfile.write(out, np.ones(300), 16000, format="WAV", subtype="PCM_16")
    write_marked(tmp_path, more={"9_george_12.wav": out.getvalue()})
    reasons = {sample.fault for sample in made(tmp_path, strings={"count": 300}).values()} - {None}
    assert any("one channel at 8000 Hz, as before it" in reason for reason in reasons)


def test_more_digits_than_a_speaker_has_recordings_are_refused(tmp_path):
    write_marked(tmp_path, indices=[0, 9])
    with pytest.raises(InputError, match=r"strings\.digits .* asks for 11: george has only 10 recordings on the split"):
        list(source(strings=STRINGS | {"digits": [3, 11]}).read(tmp_path))


def test_a_picture_of_a_digit_does_not_go_with_a_string():
    with pytest.raises(InputError, match="images of the source spoken_digits show one digit"):
        source(images="digits", strings=STRINGS)


@pytest.mark.parametrize("changes", [{"digits": [4, 2]}, {"digits": [3]}, {"silence_s": [0.3, 0.1]}])
def test_a_range_from_more_to_less_is_refused(changes):
    with pytest.raises(ValueError, match="two numbers, the least and the most"):
        source(strings=STRINGS | changes)
