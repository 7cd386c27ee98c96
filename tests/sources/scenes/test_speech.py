"""The voice: words sound like themselves, speakers differ, and the tone shows only in all of the sound."""

import wave
from io import BytesIO

import numpy as np
import pytest

from stages.sources.scenes import messages, speech, world

RATE_HZ = 8000
UTTERANCES = 800
PHRASES = [f"{colour} {shape}" for colour in world.COLOURS for shape in world.SHAPES]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([7, seed])


def read(wav: bytes) -> np.ndarray:
    with wave.open(BytesIO(wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def utter(phrase: str, tone: str = "calm", seed: int = 0) -> np.ndarray:
    return read(speech.speak(phrase, tone, rng(seed)).wav)


def spectra(x_T: np.ndarray) -> np.ndarray:
    """Return the power of each 32 ms at each 31.25 Hz, (N, F)."""
    frames_NW = np.lib.stride_tricks.sliding_window_view(x_T, 256)[::80]
    return np.abs(np.fft.rfft(frames_NW * np.hanning(256))) ** 2


def band(x_T: np.ndarray, low_hz: int, high_hz: int) -> float:
    """Return the energy between two frequencies."""
    power_F = np.abs(np.fft.rfft(x_T)) ** 2
    at_hz_F = np.fft.rfftfreq(len(x_T), 1 / RATE_HZ)
    return float(power_F[(low_hz <= at_hz_F) & (at_hz_F < high_hz)].sum())


def pitch_hz(x_T: np.ndarray) -> float:
    """Return the pitch in the loudest 64 ms: the first strong peak of their autocorrelation."""
    frames_NW = np.lib.stride_tricks.sliding_window_view(x_T, 512)[::80]
    loudest = frames_NW[np.square(frames_NW).sum(1).argmax()]
    likeness = np.correlate(loudest, loudest, "full")[511:]
    lags = np.arange(RATE_HZ // 350, RATE_HZ // 70)
    inner = (likeness[lags] >= likeness[lags - 1]) & (likeness[lags] >= likeness[lags + 1])
    strong = inner & (likeness[lags] > 0.85 * likeness[lags][inner].max())
    return RATE_HZ / lags[strong][0]


@pytest.fixture(scope="module")
def utterances() -> tuple[list[np.ndarray], np.ndarray]:
    """Return what people said, and the number of the tone in which they said it."""
    tones = np.array([rng(i).integers(4) for i in range(UTTERANCES)])
    names = list(speech.TONES)
    said = [utter(PHRASES[i % len(PHRASES)], names[tone], UTTERANCES + i) for i, tone in enumerate(tones)]
    return said, tones


def statistics(x_T: np.ndarray) -> np.ndarray:
    """Return mean and spread of the log energy in 16 bands, the length, and the pitch."""
    bands_N16 = np.log(spectra(x_T)[:, 1:].reshape(-1, 16, 8).sum(2) + 1e-6)
    return np.hstack([bands_N16.mean(0), bands_N16.std(0), len(x_T) / RATE_HZ, np.log(pitch_hz(x_T)), 1])


def test_words_are_heard_when_they_are_said_to_be():
    """Before the first and behind the last is the noise of the recording alone; each word is louder than that."""
    lengths = []
    for seed, phrase in enumerate(PHRASES):
        wav, word_times = speech.speak(phrase, "calm", rng(seed))
        x_T = read(wav)
        (start, middle), (same, end) = word_times
        assert 0.04 < start < middle == same < end < len(x_T) / RATE_HZ
        power = [np.square(x_T[int(a * RATE_HZ) : int(b * RATE_HZ)]).mean() for a, b in word_times]
        outside = [x_T[: int((start - 0.015) * RATE_HZ)], x_T[int((end + 0.02) * RATE_HZ) :]]
        assert min(power) > 3 * max(np.square(part).mean() for part in outside if len(part)), phrase
        lengths.append((phrase.split()[0], middle - start))
    mean_s = {word: np.mean([length for name, length in lengths if name == word]) for word in world.COLOURS}
    assert mean_s["purple"] > mean_s["red"]  # of six sounds against four


def test_all_colours_shapes_and_messages_can_be_said():
    assert {*world.COLOURS, *world.SHAPES} < set(speech.WORDS)
    scene = world.sample(1, 0, 3)
    said = {messages.message(scene, wording, rng(seed)).lower() for seed in range(200) for wording in messages.WORDINGS}
    assert {word for text in said for word in text.split()} <= set(speech.WORDS)
    assert {phone for word in speech.WORDS.values() for phone in word.split()} | {"_"} == set(speech.PHONES)


def test_the_same_stream_says_the_same_bytes_and_another_is_another_speaker():
    one, two, other = (speech.speak("red circle", "glad", rng(seed)) for seed in (1, 1, 2))
    assert one == two != other


def test_phrases_last_about_a_second_and_are_not_clipped(utterances: tuple[list[np.ndarray], np.ndarray]):
    lengths_s = [len(x_T) / RATE_HZ for x_T in utterances[0]]
    assert min(lengths_s) > 0.4 and max(lengths_s) < 1.8
    assert np.percentile(lengths_s, 5) > 0.65 and np.percentile(lengths_s, 95) < 1.4
    assert max(np.abs(x_T).max() for x_T in utterances[0]) < 1 - 1 / 32768


def test_speakers_have_voices_of_different_pitch_in_the_human_range():
    pitches_hz = [pitch_hz(utter("blue cross", seed=seed)) for seed in range(40)]
    assert all(75 < pitch < 300 for pitch in pitches_hz)
    assert min(pitches_hz) < 120 and max(pitches_hz) > 190


@pytest.mark.parametrize("seed", range(8))
def test_vowels_and_hisses_sound_where_they_should(seed: int):
    green, blue, cross, ring = (utter(word, seed=seed) for word in ("green", "blue", "cross", "ring"))
    assert band(green, 1900, 2800) / band(green, 700, 1300) > 2 * band(blue, 1900, 2800) / band(blue, 700, 1300)
    hisses = [spectra(x_T)[:, 103:].sum(1).max() / band(x_T, 100, 4000) for x_T in (cross, ring)]  # from 3.2 kHz
    assert hisses[0] > 3 * hisses[1]


def test_the_background_noise_is_15_to_30_db_below_the_speech(utterances: tuple[list[np.ndarray], np.ndarray]):
    below_db = [10 * np.log10(np.square(x_T).mean() / np.square(x_T[:240]).mean()) for x_T in utterances[0]]
    assert np.percentile(below_db, 2) > 13 and np.percentile(below_db, 98) < 32
    assert np.percentile(below_db, 10) < 19 and np.percentile(below_db, 90) > 26


@pytest.mark.parametrize(
    ("higher", "lower", "measure"),
    [
        ("glad", "calm", lambda x_T: pitch_hz(x_T)),
        ("calm", "sad", lambda x_T: 1 / len(x_T)),
        ("angry", "calm", lambda x_T: band(x_T, 1500, 3000) / band(x_T, 100, 700)),
        ("angry", "sad", lambda x_T: np.square(x_T).mean()),
    ],
)
def test_a_tone_shows_in_the_same_speaker(higher: str, lower: str, measure):
    wins = [measure(utter("red ring", higher, seed)) > measure(utter("red ring", lower, seed)) for seed in range(30)]
    assert np.mean(wins) > 0.85


def test_all_of_the_sound_tells_the_tone_and_no_single_statistic_does(
    utterances: tuple[list[np.ndarray], np.ndarray],
):
    said, tones = utterances
    x_NK = np.array([statistics(x_T) for x_T in said])
    loudness_N1 = np.log([[np.square(x_T).mean()] for x_T in said])
    half = UTTERANCES // 2
    weights_K4 = np.linalg.lstsq(x_NK[:half], np.eye(4)[tones[:half]], rcond=None)[0]
    assert ((x_NK[half:] @ weights_K4).argmax(1) == tones[half:]).mean() > 0.65
    for alone_N1 in (x_NK[:, 32:33], x_NK[:, 33:34], loudness_N1):  # length, pitch, loudness
        nearest = np.abs(alone_N1[half:] - alone_N1[:half].T).argsort(1)[:, :25]
        guessed = [np.bincount(tones[:half][near]).argmax() for near in nearest]
        assert np.mean(guessed == tones[half:]) < 0.5
