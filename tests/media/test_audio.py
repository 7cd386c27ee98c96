"""Sounds lose what they carry beside the samples, and the samples stay bit by bit where they can."""

import io
import struct

import numpy as np
import pytest
import soundfile

from stages.media.audio import AudioError, clean_audio, decode_audio

RATE_HZ = 8000
SECRET = "recorded at 52.5 N 13.4 E"
LIMIT_S = 10.0
TOTAL_SAMPLES_AT = 21  # of a FLAC file: the last 32 bits of the length in its header


def tone(seconds: float = 0.5, hz: float = 440.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def encode(x: np.ndarray, kind: str = "WAV", subtype: str = "PCM_16", rate_hz: int = RATE_HZ, title: str = "") -> bytes:
    out = io.BytesIO()
    channels = 1 if x.ndim == 1 else x.shape[1]
    with soundfile.SoundFile(out, "w", rate_hz, channels, format=kind, subtype=subtype) as file:
        if title:
            file.title = title
        file.write(x)
    return out.getvalue()


def samples(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="int16")[0]


def flac_with_length(data: bytes, num_frames: int) -> bytes:
    """Write another length into the header of a FLAC file; 0 leaves it open, as programs do on a pipe."""
    return data[:TOTAL_SAMPLES_AT] + struct.pack(">BI", data[21] & 0xF0, num_frames) + data[26:]


def test_a_plain_wav_comes_back_byte_for_byte():
    data = encode(tone())
    assert clean_audio(data, LIMIT_S) == (data, RATE_HZ)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "FLAC"])
def test_metadata_goes_and_the_samples_stay(kind):
    data = encode(tone(), kind, title=SECRET)
    clean, rate_hz = clean_audio(data, LIMIT_S)
    assert SECRET.encode() in data and SECRET.encode() not in clean
    assert soundfile.info(io.BytesIO(clean)).format == kind.removesuffix("EX")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(samples(clean), samples(data))


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_U8"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)]
)
def test_cleaning_twice_is_cleaning_once_and_the_same_input_gives_the_same_bytes(kind, subtype):
    data = encode(np.stack([tone(), tone(hz=300)], axis=1), kind, subtype)
    clean, rate_hz = clean_audio(data, LIMIT_S)
    info = soundfile.info(io.BytesIO(clean))
    assert (info.channels, info.subtype) == (1, "PCM_16")
    assert clean_audio(data, LIMIT_S)[0] == clean
    assert clean_audio(clean, LIMIT_S) == (clean, rate_hz)


def test_channels_are_averaged_and_other_number_formats_rounded():
    stereo = np.array([[0.5, 0.25], [-1.0, 0.0], [1.5, 1.5], [-3.0, -3.0]])
    clean, _ = clean_audio(encode(stereo, subtype="FLOAT"), LIMIT_S)
    assert samples(clean).tolist() == [0.375 * 2**15, -(2**14), 2**15 - 1, -(2**15)]


@pytest.mark.parametrize("read", [lambda data: clean_audio(data, LIMIT_S), lambda data: decode_audio(data, RATE_HZ)])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "audio does not decode: Format not recognised", id="nothing"),
        pytest.param(b"<html>404</html>", "audio does not decode: Format not recognised", id="a page"),
        pytest.param(encode(tone())[:-100], "audio is cut short", id="WAV cut short"),
        pytest.param(encode(tone(), "FLAC")[:-100], "audio does not decode: .*flac", id="FLAC cut short"),
        pytest.param(flac_with_length(encode(tone(), "FLAC"), 5000), "audio is cut short", id="FLAC promises more"),
        pytest.param(encode(np.zeros(0)), "audio is empty", id="no samples"),
        pytest.param(encode(np.array([0.0, np.nan]), subtype="FLOAT"), "not finite numbers", id="nan"),
        pytest.param(encode(np.array([0.0, np.inf]), subtype="FLOAT"), "not finite numbers", id="infinite"),
        pytest.param(encode(tone(), rate_hz=999), "audio at 999 Hz; allowed are 1000 to 192000 Hz", id="slow"),
        pytest.param(encode(tone(), rate_hz=400_000), "audio at 400000 Hz", id="fast"),
        pytest.param(encode(np.zeros((9, 9))), "audio of 9 channels; at most 8 allowed", id="nine channels"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(data, reason, read):
    with pytest.raises(AudioError, match=reason) as refused:
        read(data)
    assert "0x" not in str(refused.value)  # no address in memory: the reason is the same in every run


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_sound_may_be_as_long_as_the_bound_and_no_longer(kind):
    clean_audio(encode(tone(0.5), kind), 0.5)
    with pytest.raises(AudioError, match="audio longer than 0.5 s, which is the most allowed"):
        clean_audio(encode(np.append(tone(0.5), 0), kind), 0.5)


def test_a_header_that_leaves_the_length_open_is_bounded_while_decoding():
    data = flac_with_length(encode(tone(20.0), "FLAC"), 0)
    assert len(decode_audio(data, RATE_HZ)) == 20 * RATE_HZ
    with pytest.raises(AudioError, match="audio longer than 10 s"):
        clean_audio(data, LIMIT_S)


def test_a_long_sound_in_a_small_file_is_refused_by_its_header():
    """A wrong byte in its only frame shows that it was not decoded."""
    data = bytearray(encode(np.zeros(60 * RATE_HZ), "FLAC"))
    data[-20] ^= 0xFF
    with pytest.raises(AudioError, match="audio longer than 10 s"):
        clean_audio(bytes(data), LIMIT_S)
    with pytest.raises(AudioError, match="audio does not decode"):
        clean_audio(bytes(data), 100.0)


def test_a_wav_whose_header_was_written_before_its_length_was_known_is_read_whole():
    data = bytearray(encode(tone()))
    data[40:44] = b"\xff\xff\xff\xff"
    clean, _ = clean_audio(bytes(data), LIMIT_S)
    assert clean == encode(tone())


def test_damaged_bytes_are_refused_or_give_a_sound():
    data = encode(tone(0.1), "FLAC", title=SECRET)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random.integers(len(data))] ^= int(random.integers(1, 256))
        try:
            clean, _ = clean_audio(bytes(damaged), LIMIT_S)
        except AudioError:
            refused += 1
        else:
            assert len(samples(clean))
    assert 0 < refused < 300


def test_decoding_at_the_own_rate_gives_the_samples():
    data = encode(tone())
    got = decode_audio(data, RATE_HZ)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got * 2**15, samples(data))


@pytest.mark.parametrize("rate_hz", [4000, 11_025, 16_000])
def test_resampling_keeps_a_tone_where_it_is(rate_hz):
    got = decode_audio(encode(tone(1.0)), rate_hz)
    assert (got.dtype, len(got)) == (np.float32, rate_hz)
    inside = slice(rate_hz // 10, -rate_hz // 10)
    np.testing.assert_allclose(got[inside], tone(1.0, rate_hz=rate_hz)[inside], atol=5e-3)


def test_resampling_to_a_lower_rate_removes_what_it_cannot_hold():
    assert np.abs(decode_audio(encode(tone(1.0, hz=3000)), 4000)[200:-200]).max() < 0.01
