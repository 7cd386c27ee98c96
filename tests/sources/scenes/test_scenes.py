"""The embedded source: the same seed gives the same bytes, and what the captions say is true."""

import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
from PIL import Image

from stages.base.errors import InputError
from stages.sources import scenes as scenes_module
from stages.sources.base import RawSample
from stages.sources.scenes import FILE, ROWS_PER_GROUP, Scenes, captions, world
from stages.sources.scenes.draw import RGB, render

TERMS = {phrase: term for term, phrases in captions.PHRASES.items() for phrase, _ in phrases}
WORDS = {
    kind: {phrase: term for phrase, term in TERMS.items() if term in terms}
    for kind, terms in {
        "size": dict(world.SIZES),
        "colour": world.COLOURS,
        "shape": world.SHAPES,
        "relation": world.INVERSE,
        "background": dict(world.BACKGROUNDS),
        "place": {f"{row} {column}".strip() or "middle" for row in world.ROWS for column in world.COLUMNS},
    }.items()
}
OBJECT = re.compile(
    r"\ban? (?:({}) )?({}) ({})\b".format(*("|".join(WORDS[k]) for k in WORDS if k in "size colour shape"))
)
SAMPLES = 600


def scenes(**changes: object) -> Scenes:
    params = {"samples": 60, "image_size_px": 64, "max_objects": 3, "captions_per_image": 5, "noise": 0.05}
    params |= {"questions_per_image": 4, "cue_error": 0.04, "language": "en", "held_out": "none"}
    params |= {"clips": False, "label": "situation", "fields": False, "targets": False, "spoken": "phrase"}
    params |= {"users": 0, "ratings_per_user": 40}
    return Scenes(SimpleNamespace(**params | changes))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[RawSample]:
    folder = tmp_path_factory.mktemp("scenes")
    source = scenes(samples=SAMPLES)
    source.generate(folder, seed=7)
    return list(source.read(folder))


def words(text: str) -> list[str]:
    return re.sub(r"[.,]", "", text.lower()).split()


def bleu(test: list[RawSample], answers: list[str]) -> float:
    references = [[words(text) for text in sample.texts] for sample in test]
    smoothing = SmoothingFunction().method1
    return corpus_bleu(references, [words(answer) for answer in answers], smoothing_function=smoothing)


def pixels(sample: RawSample) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(sample.image or b"")), dtype=np.float32).ravel()


def mentions(sample: RawSample, text: str) -> Iterator[tuple[dict, str]]:
    """Yield each object that a caption names, with the words between it and the one named before."""
    end = 0
    for match in OBJECT.finditer(text):
        size, colour, shape = match.groups()
        (found,) = (
            thing
            for thing in sample.truth["objects"]
            if (thing["colour"], thing["shape"]) == (TERMS[colour], TERMS[shape])
            and (size is None or thing["size"] == TERMS[size])
        )
        yield found, text[end : match.start()].strip()
        end = match.end()


def test_nothing_is_fetched():
    assert scenes().remote_files() == ()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    made = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        (tmp_path / name).mkdir()
        scenes().generate(tmp_path / name, seed)
        made.append((tmp_path / name / FILE).read_bytes())
    assert made[0] == made[1] != made[2]


def test_several_processes_write_the_same_bytes_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scenes_module, "usable_cores", lambda: 2)
    made = []
    for scenes_per_process in (10**9, 1):
        monkeypatch.setattr(scenes_module, "SCENES_PER_PROCESS", scenes_per_process)
        scenes(samples=ROWS_PER_GROUP + 20).generate(tmp_path, seed=7)
        made.append((tmp_path / FILE).read_bytes())
    assert made[0] == made[1]


def test_more_samples_leave_those_before_as_they_were(tmp_path: Path, samples: list[RawSample]):
    fewer = scenes(samples=270)  # past one row group
    fewer.generate(tmp_path, seed=7)
    assert list(fewer.read(tmp_path)) == samples[:270]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"image_size_px": 32, "noise": 0.3}, {"image"}),
        ({"captions_per_image": 2}, {"texts"}),
        ({"questions_per_image": 2}, {"questions"}),
        ({"cue_error": 1.0}, {"label", "message", "audio", "word_times", "truth"}),
    ],
)
def test_a_changed_modality_leaves_the_others_as_they_were(
    tmp_path: Path, samples: list[RawSample], changes: dict, others: set[str]
):
    source = scenes(**changes)
    source.generate(tmp_path, seed=7)
    changed = set()
    for ours, sample in zip(source.read(tmp_path), samples, strict=False):
        changed |= {field for field in Scenes.fields if getattr(ours, field) != getattr(sample, field)}
        assert ours.truth["objects"] == sample.truth["objects"]
        assert ours.questions == sample.questions[: len(ours.questions)]
    assert changed == others


def test_the_streams_keep_their_numbers():
    """Another number gives other scenes for the same seed."""
    names = ["WORLD", "DRAWING", "CAPTIONS", "SITUATION", "MESSAGE", "SPEECH", "QUESTIONS", "MOTION", "CLIP", "OFFER"]
    names.append("TARGETS")
    assert [stream.name for stream in sorted(world.Stream)] == names
    assert sorted(world.Stream) == list(range(len(names)))


def test_every_sample_has_every_field_of_the_source(samples: list[RawSample]):
    assert set(Scenes.required) <= set(Scenes.fields)
    for sample in samples:
        assert all(getattr(sample, field) for field in Scenes.fields)
        assert (sample.group, sample.fault) == (None, None)


def test_eight_in_ten_train_and_one_each_validates_and_tests(samples: list[RawSample]):
    splits = Counter(sample.split for sample in samples)
    assert splits == {"train": 0.8 * SAMPLES, "val": 0.1 * SAMPLES, "test": 0.1 * SAMPLES}
    assert [sample.split for sample in samples[:10]] == ["train"] * 8 + ["val", "test"]
    assert samples[42].sample_id == "scene-00000042"


def test_no_more_is_held_out_than_asked_for(tmp_path: Path, samples: list[RawSample]):
    scenes(held_out=3).generate(tmp_path, seed=7)
    held_out = {"val": [8, 18, 28], "test": [9, 19, 29]}
    found = list(scenes(held_out=3).read(tmp_path))
    assert {split: [i for i, sample in enumerate(found) if sample.split == split] for split in held_out} == held_out
    assert [sample.texts for sample in found] == [sample.texts for sample in samples[:60]]


@pytest.mark.parametrize("size_px", [32, 64, 96])
def test_images_decode_at_the_asked_size(tmp_path: Path, size_px: int):
    source = scenes(samples=5, image_size_px=size_px)
    source.generate(tmp_path, seed=1)
    for sample in source.read(tmp_path):
        image = Image.open(BytesIO(sample.image or b""))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (size_px, size_px))


def test_objects_show_their_colour_where_the_truth_says():
    """The hue at the centre of an object, in a picture without noise, is nearest to that of its colour."""
    named_C3 = np.array(list(RGB.values())) / np.linalg.norm(list(RGB.values()), axis=1, keepdims=True)
    for index in range(100):
        scene = world.sample(7, index, 3)
        png = render(scene, world.stream(7, index, world.Stream.DRAWING), 64, noise=0.0)
        image = np.asarray(Image.open(BytesIO(png)), dtype=float)
        for thing in scene.things:
            if thing.shape != "ring":
                seen = image[int(thing.y * 64), int(thing.x * 64)]
                nearest = list(RGB)[int((named_C3 @ seen).argmax())]
                assert nearest == thing.colour, (index, thing)


def test_objects_stand_apart_inside_the_frame_and_differ(samples: list[RawSample]):
    counts = Counter(len(sample.truth["objects"]) for sample in samples)
    assert set(counts) == {1, 2, 3}
    for sample in samples:
        things = sample.truth["objects"]
        assert len({(thing["shape"], thing["colour"]) for thing in things}) == len(things)
        for i, one in enumerate(things):
            assert one["radius"] < min(one["x"], one["y"], 1 - one["x"], 1 - one["y"])
            for other in things[i + 1 :]:
                apart = np.hypot(one["x"] - other["x"], one["y"] - other["y"])
                assert apart > one["radius"] + other["radius"]


def test_every_object_that_a_caption_names_is_in_the_scene(samples: list[RawSample]):
    for sample in samples:
        for text in (*sample.texts, sample.oracle or ""):
            plain = " ".join(re.sub(r"[.,]", "", text.lower()).split())
            named = [thing for thing, _ in mentions(sample, plain)]
            assert named and len(named) == len(sample.truth["objects"])
            looks = [word for word in words(text) if word in WORDS["colour"] or word in WORDS["shape"]]
            assert len(looks) == 2 * len(named), text  # no colour or shape stands outside an object's name


def test_every_stated_relation_holds_by_a_clear_margin(samples: list[RawSample]):
    stated = Counter()
    for sample in samples:
        for text in (*sample.texts, sample.oracle or ""):
            (first, _), *others = mentions(sample, text.lower())
            for other, between in others:
                name = TERMS.get(re.sub(r"^(is|and) ", "", between))
                if name not in world.INVERSE:
                    assert between in {",", "and", "with"}, text
                    continue
                shift = {"x": other["x"] - first["x"], "y": other["y"] - first["y"]}
                along, across = ("x", "y") if name in ("left of", "right of") else ("y", "x")
                ahead = shift[along] if name in ("left of", "above") else -shift[along]
                assert ahead > 0.25 and ahead > 2 * abs(shift[across]), text
                stated[name] += 1
    assert set(stated) == set(world.INVERSE)


def test_stated_places_and_backgrounds_are_those_of_the_truth(samples: list[RawSample]):
    found = Counter()
    for sample in samples:
        truth = sample.truth
        for text in (*sample.texts, sample.oracle or ""):
            for kind, true in (("background", truth["background"]), ("place", truth["objects"][0]["place"])):
                # the longest first: "at the top" stands inside "at the top left"
                phrases = re.findall("|".join(sorted(WORDS[kind], key=len, reverse=True)), text.lower())
                assert {WORDS[kind][phrase] for phrase in phrases} <= {true}, text
                found[kind] += len(phrases)
    assert min(found["background"], found["place"]) > SAMPLES


def test_the_vocabulary_is_small_and_captions_are_short(samples: list[RawSample]):
    lines = [words(text) for sample in samples for text in sample.texts]
    assert len({word for line in lines for word in line}) < 120
    lengths = {len(line) for line in lines}
    assert min(lengths) >= 6 and max(lengths) <= 16


def test_the_canonical_caption_takes_the_first_of_each_choice():
    choices = [*captions.TEMPLATES.values(), *captions.PHRASES.values(), captions.OBJECT, captions.STYLES]
    for options in choices:
        first, *others = (weight for _, weight in options)
        assert captions.most_likely(options) == options[0][0]
        assert first > max(others, default=0)
        assert first + sum(others) == pytest.approx(1)


def test_truth_beats_captions_that_did_not_look_at_the_objects(samples: list[RawSample]):
    """The oracle is the ceiling; neither one caption for all nor the nearest picture's comes near it."""
    train = [sample for sample in samples if sample.split == "train"]
    test = [sample for sample in samples if sample.split == "test"]
    ceiling = bleu(test, [sample.oracle or "" for sample in test])
    frequent = Counter(text for sample in train for text in sample.texts).most_common(1)[0][0]
    seen_NP, asked_MP = (np.stack([pixels(sample) for sample in part]) for part in (train, test))
    nearest = (np.square(seen_NP).sum(1) - 2 * asked_MP @ seen_NP.T).argmin(1)
    copied = bleu(test, [train[i].texts[0] for i in nearest])
    assert 0.5 < ceiling < 0.9
    assert max(copied, bleu(test, [frequent] * len(test))) < 0.4 * ceiling


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_of_objects_that_has_no_room_is_refused(count: int):
    with pytest.raises(InputError, match="max_objects.*1 to 3"):
        scenes(max_objects=count)


@pytest.mark.parametrize("count", [-1, 9])
def test_more_questions_than_every_scene_allows_are_refused(count: int):
    with pytest.raises(InputError, match="questions_per_image.*0 to 8"):
        scenes(questions_per_image=count)
