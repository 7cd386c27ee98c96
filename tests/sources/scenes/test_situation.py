"""The label: no modality gives it away alone, and its ceiling is exact."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from stages.sources.scenes import messages, situation, world
from stages.sources.scenes.world import Stream, stream

SAMPLES = 4000
CUE_ERROR = 0.04


@pytest.fixture(scope="module")
def scenes() -> list[world.Scene]:
    return [world.sample(7, index, 1) for index in range(SAMPLES)]


@pytest.fixture(scope="module")
def situations(scenes: list[world.Scene]) -> list[situation.Situation]:
    return [situation.sample(scene, stream(7, i, Stream.SITUATION), CUE_ERROR) for i, scene in enumerate(scenes)]


@pytest.fixture(scope="module")
def written(scenes: list[world.Scene], situations: list[situation.Situation]) -> list[str]:
    pairs = enumerate(zip(scenes, situations, strict=True))
    return [messages.message(scene, s.cues["text"], stream(7, i, Stream.MESSAGE)) for i, (scene, s) in pairs]


def told(label: str, modality: str) -> str:
    """Return the kind of a modality that tells a label when nothing misleads, bit by bit."""
    bits = f"{situation.LABELS.index(label):03b}"
    return situation.CUES[modality][int("".join(bits[place] for place in situation.TOLD[modality]), 2)]


def accuracy(situations: list[situation.Situation], modalities: tuple[str, ...]) -> float:
    right = [
        situation.best_label({modality: s.cues[modality] for modality in modalities}, CUE_ERROR) == s.label
        for s in situations
    ]
    return sum(right) / len(right)


def test_each_bit_is_told_by_two_modalities():
    bits = Counter(bit for bits in situation.TOLD.values() for bit in bits)
    assert bits == {0: 2, 1: 2, 2: 2}
    assert {modality: len(set(kinds)) for modality, kinds in situation.CUES.items()} == dict.fromkeys(
        ("image", "text", "audio"), 4
    )
    assert len(set(situation.LABELS)) == 8


def test_one_modality_tells_about_half_two_most_and_three_more(situations: list[situation.Situation]):
    one, two, three = (
        [accuracy(situations, part) for part in combinations(situation.CUES, size)] for size in (1, 2, 3)
    )
    assert all(0.45 < share <= 0.6 for share in one)
    assert all(0.85 < share < 0.965 for share in two)
    assert three[0] > max(two) and 0.95 < three[0] < 0.99


def test_the_best_label_is_that_of_the_joint_counted_by_hand():
    """Every way for the world to be: the background, whether each cue misleads, and what it then shows."""
    joint = Counter()
    chance = {True: CUE_ERROR / 4, False: 1 - CUE_ERROR}
    for label, image, text, audio in product(situation.LABELS, *situation.CUES.values()):
        cues = {"image": image, "text": text, "audio": audio}
        ways = [
            sum(chance[misleads] for misleads in (True, False) if misleads or told(label, modality) == cues[modality])
            for modality in cues
        ]
        joint[label, image, text, audio] = dict(world.BACKGROUNDS)[image] * 0.5 * np.prod(ways)
    assert sum(joint.values()) == pytest.approx(1)
    for known in (("image", "text", "audio"), ("image", "audio"), ("text",), ("audio",), ()):
        for kinds in product(*(situation.CUES[modality] for modality in known)):
            cues = dict(zip(known, kinds, strict=True))
            chances = Counter()
            for (label, *seen), weight in joint.items():
                if cues.items() <= dict(zip(("image", "text", "audio"), seen, strict=True)).items():
                    chances[label] += weight
            best = max(chances.values())
            first = next(label for label in situation.LABELS if chances[label] > best - 1e-9)
            assert situation.best_label(cues, CUE_ERROR) == first, cues


def test_cues_that_never_mislead_give_the_label_exactly(scenes: list[world.Scene]):
    for index, scene in enumerate(scenes[:300]):
        drawn = situation.sample(scene, stream(7, index, Stream.SITUATION), cue_error=0)
        assert drawn.cues == {modality: told(drawn.label, modality) for modality in situation.CUES}
        assert situation.best_label(drawn.cues, 0) == drawn.label


def test_the_background_stays_and_cues_mislead_as_often_as_asked(
    scenes: list[world.Scene], situations: list[situation.Situation]
):
    misleading = Counter()
    for scene, drawn in zip(scenes, situations, strict=True):
        assert drawn.cues["image"] == scene.background
        misleading.update(m for m in situation.CUES if drawn.cues[m] != told(drawn.label, m))
    for modality in situation.CUES:
        assert misleading[modality] / SAMPLES == pytest.approx(CUE_ERROR * 3 / 4, abs=0.01)


def test_the_words_of_a_message_together_tell_its_wording(situations: list[situation.Situation], written: list[str]):
    vocabulary = sorted({word for text in written for word in text.split()})
    bags_NV = np.array([[word in text.split() for word in vocabulary] for text in written], dtype=float)
    wordings = list(messages.WORDINGS)
    targets_N4 = np.eye(4)[[wordings.index(s.cues["text"]) for s in situations]]
    weights_V4 = np.linalg.lstsq(bags_NV[:2000], targets_N4[:2000], rcond=None)[0]
    right_N = (bags_NV[2000:] @ weights_V4).argmax(1) == targets_N4[2000:].argmax(1)
    assert right_N.mean() > 0.95
    assert len(vocabulary) < 120


def test_no_word_alone_stands_in_most_messages_of_a_wording_and_in_no_other(
    situations: list[situation.Situation], written: list[str]
):
    counts = {wording: Counter() for wording in messages.WORDINGS}
    totals = Counter(s.cues["text"] for s in situations)
    for drawn, text in zip(situations, written, strict=True):
        counts[drawn.cues["text"]].update(set(text.split()))
    for wording, seen in counts.items():
        elsewhere = sum((other for name, other in counts.items() if name != wording), Counter())
        own = {word: count / totals[wording] for word, count in seen.items() if elsewhere[word] < 0.1 * count}
        assert own and max(own.values()) < 0.35, (wording, own)


def test_messages_also_name_what_is_not_there(scenes: list[world.Scene], written: list[str]):
    there = [
        any(thing.colour in text and thing.shape in text for thing in scene.things)
        for scene, text in zip(scenes, written, strict=True)
    ]
    assert 0.2 < np.mean(there) < 0.8
