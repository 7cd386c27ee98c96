"""Log-mel spectrograms: their filters by hand, a naive transform, and where a sound's energy must appear."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.extractors import extractor as extractor_of
from stages.extractors.log_mel import USUAL, LogMel, loud_part, mel_filterbank, with_noise
from stages.media.audio import AudioError
from tests.media.test_audio import encode, tone
from tests.support.small_data import sound

CPU = Device(torch.device("cpu"), torch.float32)
RATE_HZ = 8000
SILENCE = np.log(1e-6)


def make(**changes):
    values = {"rate_hz": RATE_HZ, "seconds": 0.5, "mel_bands": 20, "window_ms": 25.0, "hop_ms": 10.0, "batch_size": 4}
    params = SimpleNamespace(**values | USUAL | changes)
    return extractor_of("log_mel").from_params(params, CPU, "features.x", None)


def features(extractor, *media: bytes) -> np.ndarray:
    return extractor.extract(np.stack([extractor.decode(data) for data in media]))


def test_the_filters_are_triangles_between_equal_steps_in_mel():
    """By hand: 8000 Hz is 2840 mel, so three bands' corners are 0, 710, 1420, 2130 and 2840 mel."""
    corners_hz = [0.0, 614.3, 1767.8, 3933.5, 8000.0]
    filters = mel_filterbank(8001, 3, 16_000)  # a bin each Hz
    assert filters.shape == (8001, 3)
    for band in range(3):
        low, middle, high = corners_hz[band : band + 3]
        column = filters[:, band].numpy()
        assert column.argmax() == round(middle) and column.max() == pytest.approx(1, abs=1e-3)
        inside = np.flatnonzero(column)
        assert inside[0] == pytest.approx(low, abs=1.5) and inside[-1] == pytest.approx(high, abs=1.5)
        assert column[round((low + middle) / 2)] == pytest.approx(0.5, abs=2e-3)
        assert column[round((middle + high) / 2)] == pytest.approx(0.5, abs=2e-3)


def test_a_spectrogram_equals_the_naive_transform():
    extractor = make(seconds=0.1)
    x = np.random.default_rng(0).uniform(-1, 1, 800)
    window = np.zeros(512)
    window[156:356] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)  # 25 ms in the middle of 512 samples
    padded = np.pad(x, 256)
    bins, times = np.arange(257)[:, None], np.arange(512)
    fourier = np.exp(-2j * np.pi * bins * times / 512)
    power = np.array([np.abs(fourier @ (window * padded[80 * i : 80 * i + 512])) ** 2 for i in range(11)])
    expected = np.log(1e-6 + power @ mel_filterbank(257, 20, RATE_HZ).numpy())
    np.testing.assert_allclose(extractor.log_mel(torch.from_numpy(x).float()).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("hz", "band"), [(300, 3), (1000, 9), (3000, 17)])
def test_a_tone_lights_up_the_band_that_holds_it(hz, band):
    """A band's middle stands at (band + 1) / 21 of 2146 mel, the 4000 Hz at the top."""
    extractor = make()
    assert round(2595 * np.log10(1 + hz / 700) / (2146 / 21)) - 1 == band
    got = features(extractor, encode(tone(0.5, hz)))[0]
    assert (got.shape, got.dtype) == ((51, 20), np.float16) == (extractor.shape, np.dtype(extractor.dtype))
    assert (got[2:-2].argmax(axis=1) == band).all()


def test_loudness_does_not_matter():
    extractor = make()
    loud, soft = features(extractor, encode(tone(), subtype="FLOAT"), encode(tone() / 64, subtype="FLOAT"))
    np.testing.assert_array_equal(loud, soft)


def test_leading_silence_is_cut_and_what_is_missing_at_the_end_is_padded():
    sound = np.concatenate([np.full(300, 0.004), [0.5, -0.25, 0.0, 0.125]])
    assert loud_part(sound, 6).tolist() == [1.0, -0.5, 0.0, 0.25, 0.0, 0.0]
    assert loud_part(sound, 2).tolist() == [1.0, -0.5]
    assert loud_part(np.append(0.005, sound[300:]), 2).tolist() == [0.01, 1.0]
    assert loud_part(np.zeros(3), 5).tolist() == [0.0] * 5


def test_leading_silence_can_be_kept_so_that_times_are_true():
    later = encode(np.concatenate([np.zeros(2000), tone(0.2)]))
    cut, kept = make(), make(leading_silence="kept")
    assert (features(cut, later)[0][:8].max(axis=1) > 0).all()
    loud = np.flatnonzero(features(kept, later)[0].max(axis=1) > 0)
    assert loud[0] == pytest.approx(25, abs=2)  # of 10 ms each: 2000 samples are 250 ms
    assert kept.identity() == cut.identity() | {"leading_silence": "kept"}  # what is usual changes no cache key


def test_noise_has_the_power_that_was_asked_for_and_is_the_same_for_the_same_sound():
    x = tone(0.5).astype(np.float32)
    for snr_db in (0.0, 10.0):
        noise = with_noise(x, snr_db, 1) - x
        assert 10 * np.log10(np.square(x).mean() / np.square(noise).mean()) == pytest.approx(snr_db, abs=0.2)
    noisy, clean = make(snr_db=0.0), make()
    one, other = encode(tone(0.3, 700)), encode(tone(0.3, 701))
    np.testing.assert_array_equal(features(noisy, one), features(noisy, one))
    assert not np.array_equal(features(noisy, one), features(clean, one))
    assert not np.array_equal(features(noisy, one)[0][:20], features(noisy, other)[0][:20])


def test_what_users_send_gets_no_noise(tmp_path):
    noisy = make(snr_db=0.0)
    noisy.save(tmp_path)
    again = LogMel.load(tmp_path, CPU)
    assert again.identity() == noisy.identity() != again.in_service().identity() == make().identity()


def test_padding_and_silence_hold_the_floor():
    extractor = make()
    short, silent = features(extractor, encode(tone(0.1)), encode(np.zeros(100)))
    assert (silent == np.float16(SILENCE)).all()
    assert (short[15:] == np.float16(SILENCE)).all() and (short[:8].max(axis=1) > 0).all()


def test_a_sound_of_another_rate_or_format_gives_nearly_the_same():
    extractor = make()
    x = (tone(0.5, 700) * 2**15).astype(np.int16)
    plain, lossless = features(extractor, encode(x), encode(x, "FLAC"))
    np.testing.assert_array_equal(plain, lossless)
    faster = features(extractor, encode(tone(0.5, 700, rate_hz=44_100), rate_hz=44_100))[0]
    difference = np.abs(faster.astype(float) - plain)[3:-3]  # without the clicks at both ends
    assert difference[plain[3:-3] > 0].max() < 0.05


def test_features_do_not_depend_on_the_batch():
    extractor = make()
    noise = np.random.default_rng(1)
    media = [encode(noise.uniform(-1, 1, noise.integers(100, 9000))) for _ in range(7)]
    batch = features(extractor, *media)
    for row, data in zip(batch, media, strict=True):
        np.testing.assert_array_equal(features(extractor, data)[0], row)


def test_a_sound_that_does_not_decode_is_refused():
    with pytest.raises(AudioError, match="does not decode"):
        make().decode(b"<html>404</html>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_ms": 0.01}, "features.x: seconds, window_ms or hop_ms is under one sample at 8000 Hz"),
        ({"mel_bands": 200}, "features.x: mel_bands: 200 are too many for a window of 25 ms at 8000 Hz"),
    ],
)
def test_settings_that_do_not_go_together_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_save_and_load_gives_the_same_features(tmp_path):
    extractor = make(seconds=0.3, hop_ms=12.5)
    extractor.save(tmp_path)
    again = LogMel.load(tmp_path, CPU)
    assert again.identity() == extractor.identity() and again.shape == extractor.shape
    np.testing.assert_array_equal(features(again, encode(tone())), features(extractor, encode(tone())))


def test_a_sound_that_will_be_cut_is_told_from_one_that_is_not():
    settings = {"rate_hz": 8000, "seconds": 0.5, "mel_bands": 16, "window_ms": 25.0, "hop_ms": 10.0}
    extractor = LogMel(settings)
    assert extractor.longest == "0.5 s"
    assert [extractor.exceeds(sound(seconds)) for seconds in (0.4, 0.5, 0.6)] == [False, False, True]
