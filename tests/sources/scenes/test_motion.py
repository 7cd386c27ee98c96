"""Clips: objects do what is said of them, no single frame tells what, and the pixels survive the encoding."""

import re
from collections import Counter
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.base.errors import InputError
from stages.media.text import tokenize
from stages.models.metrics.statements import Reader
from stages.models.metrics.truth import Judge
from stages.sources.base import RawSample
from stages.sources.scenes import captions, clip, draw, motion, world
from stages.sources.scenes.languages import LANGUAGES, English
from stages.sources.scenes.world import Scene, Stream, Thing
from tests.sources.scenes.test_scenes import TERMS, scenes

MOTIONS = list(motion.PHRASES)
CHANCE = 1 / len(MOTIONS)
MIDDLE = motion.FRAMES // 2
SEEN = 0, MIDDLE, motion.FRAMES - 1  # frames in which each object is to be seen
TRAIN, TEST = 1600, 800


def moving(index: int, max_objects: int = 3) -> Scene:
    return motion.set_in_motion(world.sample(7, index, max_objects), world.stream(7, index, Stream.MOTION))


def moments(index: int, scene: Scene) -> list[motion.Moment]:
    return motion.moments(scene, world.stream(7, index, Stream.CLIP))


def painted(index: int, max_objects: int = 3, size_px: int = 64) -> list[np.ndarray]:
    scene = moving(index, max_objects)
    return draw.paint(scene, moments(index, scene), world.stream(7, index, Stream.DRAWING), size_px, 0.03)


def decoded(data: bytes) -> list[np.ndarray]:
    with av.open(BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def around(step: float) -> float:
    """Return a step on a circle of length one, from -0.5 to 0.5."""
    return (step + 0.5) % 1 - 0.5


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[RawSample]:
    folder = tmp_path_factory.mktemp("clips")
    source = scenes(samples=120, clips=True, label="motion", questions_per_image=8)
    source.generate(folder, seed=7)
    return list(source.read(folder))


def test_each_object_does_the_one_thing_that_is_said_of_it():
    done: Counter[str] = Counter()
    for index in range(200):
        scene = moving(index)
        frames = moments(index, scene)
        for i, thing in enumerate(scene.things):
            seen = [frame[i] for frame in frames]
            dark = tuple(number for number, places in enumerate(seen) if not places)
            assert dark == (motion.DARK if thing.motion == "blinks" else ())
            path = [places[0] for places in seen if places]
            steps = [(around(b.x - a.x), around(b.y - a.y)) for a, b in pairwise(path)]
            x, y = np.sum(steps, axis=0).round(3).tolist()
            way = motion.WAYS.get(motion.way(thing) or "", (0, 0))
            assert (x, y) == pytest.approx((motion.PATH * way[0], motion.PATH * way[1]), abs=2e-3)
            grown = [np.log(b.radius / a.radius) / np.log(motion.SIZES) for a, b in pairwise(path)]
            sign = {"grows": 1, "shrinks": -1}.get(thing.motion or "", 0)
            assert sum(map(around, grown)) == pytest.approx(sign * motion.GROWTH)
            done[thing.motion or ""] += 1
    assert set(done) == set(MOTIONS) and min(done.values()) > 20


def test_an_object_over_an_edge_is_seen_on_both_sides():
    thing = Thing("circle", "red", "large", x=0.98, y=0.5, radius=0.2, tilt_deg=0.0, motion="stays")
    places = motion._seen(thing, 0.5, 0)
    assert sorted(round(place.x, 4) for place in places) == [-0.02, 0.98] and {place.y for place in places} == {0.5}


def test_objects_are_no_larger_than_in_the_scene_and_stand_apart_in_the_middle():
    for index in range(200):
        scene = moving(index)
        frames = moments(index, scene)
        for thing, places in zip(scene.things, frames[MIDDLE], strict=True):
            assert thing.radius / motion.SIZES <= places[0].radius <= thing.radius
        for one, other in combinations(frames[MIDDLE], 2):
            for a in one:
                for b in other:
                    assert np.hypot(a.x - b.x, a.y - b.y) > a.reach + b.reach


@pytest.mark.parametrize("frame", SEEN)
def test_place_and_size_in_a_frame_tell_nothing_of_the_motion(frame):
    """Not even to a forest that is told them without error."""
    scenes_1 = [moving(index, 1) for index in range(TRAIN + TEST)]
    labels = np.array([MOTIONS.index(scene.things[0].motion or "") for scene in scenes_1])
    shown = [moments(index, scene)[frame][0][0] for index, scene in enumerate(scenes_1)]
    known = np.array([(thing.x % 1, thing.y % 1, thing.radius) for thing in shown])
    forest = RandomForestClassifier(100, min_samples_leaf=10, random_state=0).fit(known[:TRAIN], labels[:TRAIN])
    assert abs((forest.predict(known[TRAIN:]) == labels[TRAIN:]).mean() - CHANCE) < 0.05


def test_pixels_of_one_frame_stay_at_chance_and_differences_of_frames_are_far_above():
    count, train = 1000, 600
    chosen = (0, motion.DARK[0], motion.FRAMES - 1, MIDDLE)
    clips = (painted(index, 1, size_px=32) for index in range(count))
    frames_NKHWC = np.array([[frames[number] for number in chosen] for frames in clips], dtype=np.float32)
    labels = np.array([MOTIONS.index(moving(index, 1).things[0].motion or "") for index in range(count)])

    def accuracy(features_NF: np.ndarray, model) -> float:
        model.fit(features_NF[:train], labels[:train])
        return float((model.predict(features_NF[train:]) == labels[train:]).mean())

    middle = frames_NKHWC[:, -1].reshape(count, -1)
    pixels = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=200))
    assert abs(accuracy(middle, pixels) - CHANCE) < 0.05
    change = np.abs(frames_NKHWC[:, :-1] - frames_NKHWC[:, -1:]).sum(-1)  # (N, 3, H, W)
    at = np.arange(change.shape[-1])
    mass = change.sum((2, 3))
    centres = [(change.sum(axis) * at).sum(-1) / (mass + 1e-6) for axis in (2, 3)]
    differences = np.concatenate([mass, *centres], axis=1)
    assert accuracy(differences, RandomForestClassifier(100, random_state=0)) > 0.5
    assert accuracy(differences, make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))) > 0.3


@pytest.mark.parametrize("size_px", [32, 33, 64])
def test_a_clip_decodes_to_the_pixels_that_were_painted(size_px):
    for index in range(5):
        frames = painted(index, size_px=size_px)
        data = clip.encode(frames, motion.RATE_HZ)
        assert np.array_equal(decoded(data), frames)
        assert clip.encode(frames, motion.RATE_HZ) == data
        assert not re.search(
            rb"x264|Lav[cf]|libav", data
        )  # no versions: another build of the same codec writes the same
        assert len(data) < 15 * size_px**2 * 3


def test_a_clip_says_its_rate_and_has_no_sound_and_no_date(samples: list[RawSample]):
    with av.open(BytesIO(samples[0].video or b"")) as container:
        (stream,) = container.streams
        assert (stream.type, stream.frames, stream.average_rate) == ("video", motion.FRAMES, motion.RATE_HZ)
        assert float(stream.duration * stream.time_base) == motion.FRAMES / motion.RATE_HZ
        assert "creation_time" not in container.metadata | stream.metadata


def test_with_clips_all_but_texts_labels_and_truth_is_as_without(tmp_path: Path, samples: list[RawSample]):
    still = scenes(samples=120)
    still.generate(tmp_path, seed=7)
    changed = set()
    for one, other in zip(still.read(tmp_path), samples, strict=True):
        changed |= {field for field in scenes(clips=True).fields if getattr(one, field) != getattr(other, field)}
        assert not any("motion" in thing for thing in one.truth["objects"])
    assert changed == {"video", "texts", "questions", "oracle", "label", "truth"}
    assert "video" not in still.fields


def test_the_label_is_what_the_object_that_is_spoken_of_does(samples: list[RawSample]):
    for sample in samples:
        first = sample.truth["objects"][0]
        assert sample.transcript == f"{first['colour']} {first['shape']}"
        assert sample.label == sample.truth["best_label"] == first["motion"]
    assert {sample.label for sample in samples} == set(MOTIONS)


def test_the_situation_may_stay_the_label(tmp_path: Path):
    labels = {}
    for clips in (False, True):
        scenes(samples=20, clips=clips).generate(tmp_path, seed=7)
        labels[clips] = [sample.label for sample in scenes(clips=clips).read(tmp_path)]
    assert labels[True] == labels[False]


def test_nothing_moves_without_clips():
    with pytest.raises(InputError, match="label of the source scenes is motion, and nothing moves: set clips to true"):
        scenes(label="motion")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_of_clips_are_true_by_their_lexicon_and_not_of_the_next(tmp_path: Path, language: str):
    source = scenes(samples=120, clips=True, language=language)
    source.generate(tmp_path, seed=7)
    found = list(source.read(tmp_path))
    lexicon = source.lexicon()
    reader, said = Reader(lexicon), Counter()
    for sample, other in zip(found, [*found[1:], found[0]], strict=True):
        for text in (*sample.texts, sample.oracle):
            words = tokenize(text)
            true, false = (Judge(lexicon, s.truth).judge(reader.read(words), len(words)) for s in (sample, other))
            assert true.num_true == true.num_checked == len(true.statements) > 0 and not true.unread, text
            assert true.named == len(sample.truth["objects"]) and false.has_false, text
            said.update(verdict.kind for verdict in true.statements)
    assert set(said) == {"object", "motion", "background"}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=list(LANGUAGES))
def test_everything_that_objects_do_is_said_in_each_of_its_words(language: English):
    rng = np.random.default_rng(7)
    written = "".join(text for index in range(150) for text in captions.captions(moving(index), rng, 3, language))
    phrases = [phrase for options in motion.PHRASES.values() for phrase, _ in options]
    assert [phrase for phrase in phrases if language.phrase(phrase) not in written] == []


def test_questions_about_motion_have_the_one_true_answer(samples: list[RawSample]):
    kinds: Counter[str] = Counter()
    answers = set()
    for sample in samples:
        things = sample.truth["objects"]
        for question in sample.questions:
            kinds[question.kind] += 1
            assert not set(tokenize(question.text)) & {"large", "big", "small", "little", "tiny"}
            if question.kind != "motion":
                continue
            terms = {TERMS[word] for word in tokenize(question.text) if word in TERMS}
            named = [thing for thing in things if terms <= {thing["colour"], thing["shape"]}]
            assert len(named) == 1, question
            assert question.answer in (named[0]["motion"], named[0]["motion"].removeprefix("moves "))
            is_way = bool(re.search("Which way|Where", question.text))
            assert is_way == (question.answer in motion.WAYS)
            answers.add(question.answer)
    assert set(kinds) == {"count", "exists", "colour", "shape", "motion"} and kinds["motion"] > 120
    assert answers == {*MOTIONS, *motion.WAYS}


def test_the_picture_is_a_scene_and_no_frame_of_the_clip(samples: list[RawSample]):
    image = np.asarray(Image.open(BytesIO(samples[0].image or b"")))
    assert not any(np.array_equal(image, frame) for frame in decoded(samples[0].video or b""))
