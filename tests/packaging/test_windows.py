"""Long sounds in windows: they cover the whole, each word is told once, and at its time."""

import math

import numpy as np
import pytest

from stages.media.audio import decode_audio
from stages.packaging.windows import Window, joined, windows_of, within
from tests.support.small_data import sound

RATE_HZ = 8000


def answer(*words: tuple[str, float, float]) -> dict:
    return {
        "transcript": " ".join(word for word, _, _ in words),
        "spoken": [word for word, _, _ in words],
        "starts_s": [start for _, start, _ in words],
        "ends_s": [end for _, _, end in words],
        "probabilities": [0.5 for _ in words],
    }


def test_a_sound_that_fits_is_its_only_window_byte_by_byte():
    data = sound(1.0)
    (window,) = windows_of(data, 1.0, RATE_HZ)
    assert window.audio is data and (window.start_s, window.from_s, window.until_s) == (0.0, -math.inf, math.inf)
    assert joined([within(window, answer(("one", 0.1, 0.4)))]) == answer(("one", 0.1, 0.4))


@pytest.mark.parametrize("total", [1.01, 2.0, 7.3, 59.0])
def test_windows_are_equally_long_and_cover_the_whole(total):
    data = sound(total)
    found = windows_of(data, 1.0, RATE_HZ)
    whole = decode_audio(data, RATE_HZ)
    for window in found:
        begin = round(window.start_s * RATE_HZ)
        part = decode_audio(window.audio, RATE_HZ)
        np.testing.assert_allclose(part, whole[begin : begin + RATE_HZ], atol=1 / 2**15)
        assert len(part) == RATE_HZ
    assert found[0].start_s == 0 and found[-1].start_s == pytest.approx(total - 1.0, abs=1e-3)
    assert [window.until_s for window in found[:-1]] == [window.from_s for window in found[1:]]
    for one, other in zip(found, found[1:], strict=False):
        assert other.start_s - one.start_s <= 0.6 + 1e-9  # so that 0.4 overlap
        assert other.start_s < one.until_s < one.start_s + 1.0


def test_a_word_that_two_windows_hear_is_told_by_the_one_in_whose_part_its_middle_is():
    first, second = Window(b"", 0.0, -math.inf, 1.7), Window(b"", 1.4, 1.7, math.inf)
    heard = (
        within(first, answer(("one", 0.2, 0.5), ("two", 1.4, 1.9))),
        within(second, answer(("two", 0.05, 0.5), ("three", 1.0, 1.5))),
    )
    assert heard[0]["spoken"] == ["one", "two"] and heard[1]["spoken"] == ["three"]
    whole = joined(heard)
    assert whole["transcript"] == "one two three"
    assert (whole["starts_s"], whole["ends_s"]) == ([0.2, 1.4, 2.4], [0.5, 1.9, 2.9])
