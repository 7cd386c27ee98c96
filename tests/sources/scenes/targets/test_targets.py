"""Numbers and tags of scenes are true: of the picture as drawn, and of the voice; without them nothing changes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stages.sources.scenes import draw, world
from stages.sources.scenes.targets import ADDED, CHANCE, area
from tests.sources.scenes.test_scenes import scenes

SIDE_PX = 400


@pytest.mark.parametrize("shape", world.SHAPES)
def test_an_area_is_that_which_is_drawn(shape):
    thing = world.Thing(shape, "red", "large", 0.5, 0.5, 0.2, 4.0)
    canvas = Image.new("RGB", (SIDE_PX, SIDE_PX))
    draw._draw_shape(ImageDraw.Draw(canvas), thing, (0.5, 0.5), (255, 0, 0))
    drawn = np.asarray(canvas)[..., 0].astype(bool).mean()
    assert area(thing) == pytest.approx(drawn, rel=0.03)


def test_numbers_and_tags_are_those_of_the_truth(tmp_path):
    source = scenes(samples=120, targets=True)
    source.generate(tmp_path, seed=7)
    beyond = []
    for sample in source.read(tmp_path):
        things, tone = sample.truth["objects"], sample.truth["tone"]
        looks = {word for thing in things for word in (thing["colour"], thing["shape"])}
        assert set(sample.tags) == looks | {f"{tone} voice"} == set(sample.truth["best_tags"])
        best = sample.truth["best_numbers"]
        assert sample.numbers["cover"] == best["cover"]
        assert best["worth"] == pytest.approx(best["cover"] + ADDED[tone])
        beyond.append(sample.numbers["worth"] - best["worth"])
    assert np.std(beyond) == pytest.approx(CHANCE, rel=0.2)


def test_targets_change_nothing_else(tmp_path):
    folders = [tmp_path / name for name in ("plain", "with")]
    for folder, targets in zip(folders, (False, True), strict=True):
        folder.mkdir()
        scenes(samples=12, targets=targets).generate(folder, seed=7)
    plain, more = (list(scenes(targets=t).read(folder)) for t, folder in zip((False, True), folders, strict=True))
    for one, other in zip(plain, more, strict=True):
        assert (one.image, one.audio, one.texts, one.label) == (other.image, other.audio, other.texts, other.label)
        assert one.tags is None and not one.numbers
        assert one.truth == {
            key: value for key, value in other.truth.items() if key not in ("best_numbers", "best_tags")
        }
