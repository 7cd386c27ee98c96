"""Speaks a phrase: pulses and noise of a voice through the resonances of a mouth, as 8 kHz mono WAV.

Source and filter after Klatt, "Software for a cascade/parallel formant synthesizer" (1980), written in frames of
frequencies. A tone of voice bends melody, pace, loudness and timbre; speakers differ as much, so that no one of
them tells the tone. Shapes: T samples, N frames, W samples of a frame, F frequencies, K values of a phone.
"""

import wave
from functools import cache
from io import BytesIO
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.sources.scenes.speech.phones import PHONES, WORDS, Phone

RATE_HZ = 8000
HOP = 40
FRAME = 4 * HOP
FFT = 6 * HOP
"""Longer than a frame, so that a resonance can ring on after it."""


class Tone(NamedTuple):
    """A tone of voice."""

    pitch: float  # factor
    arc: float  # how far the melody rises in the middle and falls again, in octaves
    fall: float  # how far it falls from the first sound to the last, in octaves
    slowness: float  # factor of durations
    loudness: float  # factor
    brightness_hz: float  # where harmonics have fallen to 1/e
    breath: float  # noise in the voice, as a share of it
    roughness: float  # by how much every other pulse is weaker, as a share


TONES = {
    "calm": Tone(1.0, 0.05, 0.1, 1.0, 0.8, 1000, 0.1, 0.05),
    "glad": Tone(1.2, 0.7, 0.1, 0.97, 0.9, 1250, 0.1, 0.05),
    "angry": Tone(1.1, 0.15, 0.3, 0.85, 0.95, 2800, 0.1, 0.7),
    "sad": Tone(0.92, 0.0, 0.6, 1.2, 0.65, 600, 0.5, 0.05),
}
STRENGTH = (0.8, 1.3)
"""How much of the way from calm to its tone an utterance goes."""

PITCH_HZ = (90, 230)
MOUTH = (0.9, 1.15)
"""Factors of the formants; small mouths have high ones."""
SPEED = (0.85, 1.2)
LOUDNESS = (0.3, 1)
BRIGHTNESS = (0.85, 1.2)
SNR_DB = (15, 30)
PAUSE_S = (0.04, 0.12)
"""The silence before and after."""
WAVER = 0.06
"""The standard deviation of a speaker's own rise and fall, in octaves."""
LEVEL = 0.06
"""The root mean square of a loud voice, of full range 1; its peaks are up to 16 times as high."""
HISS_WIDTH_HZ = 700
FOURTH_FORMANT_HZ = 3500
WIDTH_HZ, WIDTH_SHARE = 60, 0.04
"""The band of a formant: at least so wide, and by this share of its frequency wider."""
SMOOTHING = {"strength": 5, "formants": 9}
"""Over how many frames one sound passes into the next."""


class Spoken(NamedTuple):
    """A phrase as a WAV file, and the seconds from start to end of each of its words."""

    wav: bytes
    word_times: tuple[tuple[float, float], ...]


def speak(phrase: str, tone: str, rng: np.random.Generator) -> Spoken:
    """Speak a phrase in a tone of voice, by someone drawn at random."""
    strength = rng.uniform(*STRENGTH)
    style = Tone(*(calm + strength * (own - calm) for calm, own in zip(TONES["calm"], TONES[tone], strict=True)))
    style = style._replace(
        pitch=style.pitch * rng.uniform(*PITCH_HZ),
        arc=style.arc + rng.normal(0, WAVER),
        fall=style.fall + rng.normal(0, WAVER),
        slowness=style.slowness / rng.uniform(*SPEED),
        loudness=style.loudness * rng.uniform(*LOUDNESS),
        brightness_hz=style.brightness_hz * rng.uniform(*BRIGHTNESS),
    )
    phones = [[PHONES[name] for name in WORDS[word].split()] for word in phrase.split()]
    ends_s = _ends(phones, style.slowness, rng.uniform(*PAUSE_S, size=2))
    tracks_NK = _tracks(phones, ends_s)
    speech_T = _voice(tracks_NK, style, rng.uniform(*MOUTH), rng)
    speech_T /= np.sqrt(np.square(speech_T).mean())
    noise_T = rng.standard_normal(len(speech_T)) * 10 ** (-rng.uniform(*SNR_DB) / 20)
    return Spoken(_wav(LEVEL * style.loudness * (speech_T + noise_T)), _word_times(phones, ends_s))


def _ends(phones: list[list[Phone]], slowness: float, pauses_s: np.ndarray) -> np.ndarray:
    """Return when each phone of the words ends, the silence before and after them among those, in seconds."""
    silence = PHONES["_"]
    durations_s = np.array([phone.duration_s for phone in (silence, *chain(*phones), silence)]) * slowness
    durations_s[[0, -1]] = pauses_s
    return durations_s.cumsum()


def _word_times(phones: list[list[Phone]], ends_s: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return when each word is heard: a frame sounds in the middle of its window."""
    edges_s = (ends_s[np.cumsum([0, *map(len, phones)])] + FRAME / 2 / RATE_HZ).round(4).tolist()
    return tuple(pairwise(edges_s))


def _tracks(phones: list[list[Phone]], ends_s: np.ndarray) -> np.ndarray:
    """Return voice, hiss, where it hisses and three formants of each frame, (N, K), passing smoothly."""
    all_phones = (PHONES["_"], *chain(*phones), PHONES["_"])
    frames = int(ends_s[-1] * RATE_HZ / HOP)
    sounding = np.searchsorted(ends_s, np.arange(frames) * HOP / RATE_HZ, side="right")
    tracks_NK = np.array([(p.voice, p.hiss, p.hiss_hz, *p.formants_hz) for p in all_phones])[sounding]
    return np.hstack(
        [_smooth(tracks_NK[:, :2], SMOOTHING["strength"]), _smooth(tracks_NK[:, 2:], SMOOTHING["formants"])]
    )


def _smooth(x_NK: np.ndarray, frames: int) -> np.ndarray:
    weights_W = np.hanning(frames + 2)[1:-1]
    edge = frames // 2
    padded = np.concatenate([x_NK[:1].repeat(edge, 0), x_NK, x_NK[-1:].repeat(edge, 0)])
    return sliding_window_view(padded, frames, axis=0) @ (weights_W / weights_W.sum())


def _voice(tracks_NK: np.ndarray, style: Tone, mouth: float, rng: np.random.Generator) -> np.ndarray:
    """Sound the tracks, (T,): pulses and breath through the formants, hiss through its own resonance.

    Only frames that sound are computed: the voice is silent in a third of them, the hiss in most.
    """
    length = (len(tracks_NK) - 1) * HOP + FRAME
    breath_T = rng.standard_normal(length)
    source_T = _pulses(length, style) + style.breath * breath_T
    noise_T = rng.standard_normal(length)
    voiced, hissing = (tracks_NK[:, kind] > 0 for kind in (0, 1))
    spectra_NF = np.zeros((len(tracks_NK), len(_frequencies())), dtype=complex)
    spectra_NF[voiced] = _spectra(source_T, voiced) * tracks_NK[voiced, :1] * _formants(tracks_NK[voiced, 3:] * mouth)
    band_NF = 1 / (1 + ((_frequencies() - tracks_NK[hissing, 2:3]) / HISS_WIDTH_HZ) ** 2)
    spectra_NF[hissing] += _spectra(noise_T, hissing) * tracks_NK[hissing, 1:2] * band_NF
    return _overlap_add(np.fft.irfft(spectra_NF, FFT, axis=1))


def _pulses(length: int, style: Tone) -> np.ndarray:
    """Return the pulses of the vocal folds, (T,), of power one: cosines that fall off evenly, summed in closed form.

    The sum of a^k cos(k p) over k from 1 is (1 - a cos p) / (1 - 2 a cos p + a^2) - 1.
    """
    u_T = np.arange(length) / length
    octaves_T = style.arc * (np.sin(np.pi * u_T) - 0.5) + style.fall * (0.5 - u_T)
    pitch_hz_T = style.pitch * 2**octaves_T
    turn_T = 2 * np.pi * pitch_hz_T.cumsum() / RATE_HZ
    a_T = np.exp(-pitch_hz_T / style.brightness_hz)
    fall_T = a_T * np.cos(turn_T)
    pulses_T = (1 - fall_T) / (1 - 2 * fall_T + a_T**2) - 1
    return pulses_T * np.sqrt(2 * (1 - a_T**2)) / a_T * (1 + style.roughness * np.cos(turn_T / 2))


def _spectra(x_T: np.ndarray, chosen_N: np.ndarray) -> np.ndarray:
    """Return the spectrum of each chosen frame, (N, F)."""
    return np.fft.rfft(sliding_window_view(x_T, FRAME)[::HOP][chosen_N] * _window(), FFT, axis=1)


@cache
def _window() -> np.ndarray:
    """Return the periodic Hann window, (W,), whose overlapping copies sum to one."""
    return np.hanning(FRAME + 1)[:-1] * 2 * HOP / FRAME


@cache
def _frequencies() -> np.ndarray:
    """Return the frequencies of a spectrum, (F,)."""
    return np.fft.rfftfreq(FFT, 1 / RATE_HZ)


def _formants(formants_hz_N3: np.ndarray) -> np.ndarray:
    """Return the gain at each frequency, (N, F): four resonators in a row, the last the same for all."""
    loss_NF = _loss(formants_hz_N3[:, :1])
    for formant in (1, 2):
        loss_NF *= _loss(formants_hz_N3[:, formant : formant + 1])
    loss_NF *= _fourth_loss()
    return np.divide(1, loss_NF, out=loss_NF)


def _loss(formant_hz_N1: np.ndarray) -> np.ndarray:
    """Return what a resonator takes at each frequency, (N, F); written in place, as new memory costs more than sums."""
    share_NF = _frequencies() / formant_hz_N1
    loss_NF = np.empty(share_NF.shape, dtype=complex)
    np.multiply(share_NF, WIDTH_SHARE + WIDTH_HZ / formant_hz_N1, out=loss_NF.imag)
    np.subtract(1, np.square(share_NF, out=share_NF), out=loss_NF.real)
    return loss_NF


@cache
def _fourth_loss() -> np.ndarray:
    return _loss(np.full((1, 1), float(FOURTH_FORMANT_HZ)))


def _overlap_add(frames_NW: np.ndarray) -> np.ndarray:
    """Add the frames up, each one hop after the one before, (T,)."""
    pieces = frames_NW.reshape(len(frames_NW), -1, HOP)
    sum_NH = np.zeros((len(frames_NW) + pieces.shape[1] - 1, HOP))
    for i in range(pieces.shape[1]):
        sum_NH[i : i + len(frames_NW)] += pieces[:, i]
    return sum_NH.ravel()


def _wav(x_T: np.ndarray) -> bytes:
    """Encode samples from -1 to 1 in 16 bits."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes((x_T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return file.getvalue()
