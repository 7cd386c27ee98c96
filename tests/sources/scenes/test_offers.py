"""The table beside a scene: its deal takes picture and fields together, its best guess is right as often as can be."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.params import ScenesParams
from stages.sources.scenes import FILE, Scenes, offers, world
from stages.sources.scenes.world import SHAPES, Stream

SECTION = {
    **{"source": "scenes", "folder": "none", "samples": 60, "image_size_px": 32, "max_objects": 2},
    **{"captions_per_image": 1, "questions_per_image": 1, "noise": 0.03, "cue_error": 0.1},
}
DRAWN = range(4000)


def made(folder: Path, **changes):
    source = Scenes(ScenesParams.model_validate(SECTION | changes))
    source.generate(folder, 7)
    return source, list(source.read(folder))


def offer(index: int, cue_error: float = 0.1) -> tuple[str, offers.Offer]:
    scene = world.sample(7, index, 1)
    return scene.things[0].shape, offers.sample(scene, world.stream(7, index, Stream.OFFER), cue_error)


def test_every_shape_has_a_worth_and_every_column_its_kind():
    assert set(offers.WORTH) == set(SHAPES) and set(offers.FACTORS) == set(dict(offers.MATERIALS))
    assert all(set(found.cells) <= set(offers.KINDS) for _, found in map(offer, range(100)))


def test_the_best_guess_is_as_good_as_the_noise_allows_and_takes_both():
    found = [offer(index) for index in DRAWN]
    best = np.mean([one.best == one.deal for _, one in found])
    fields_alone = np.mean([offers.best_deal(None, one.cells) == one.deal for _, one in found])
    commonest = Counter(one.deal for _, one in found).most_common(1)[0][1] / len(found)  # the picture says no more
    assert 0.90 < best < 0.95
    assert best - fields_alone > 0.2 and best - commonest > 0.5


def test_without_error_and_gaps_the_best_guess_is_the_deal():
    found = [one for _, one in (offer(index, 0.0) for index in DRAWN) if "material" in one.cells]
    assert all(one.best == one.deal for one in found)


def test_some_cells_are_empty_and_of_all_kinds():
    cells = [one.cells for _, one in map(offer, DRAWN)]
    assert 0.03 < np.mean(["material" not in found for found in cells]) < 0.07
    assert 0.17 < np.mean(["stock" not in found for found in cells]) < 0.23
    assert {found["used"] for found in cells} == {"yes", "no"}


def test_a_table_beside_a_scene_leaves_all_else_as_it_was(tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    _, plain = made(tmp_path / "without")
    source, found = made(tmp_path / "with", fields=True)
    assert source.fields[-1] == "fields" and source.field_kinds(tmp_path) == offers.KINDS
    for one, other in zip(plain, found, strict=True):
        assert (one.image, one.audio, one.texts, one.label) == (other.image, other.audio, other.texts, other.label)
        assert one.fields is None and other.fields and one.truth == other.truth
    first = (tmp_path / "with" / FILE).read_bytes()
    made(tmp_path / "with", fields=True)
    assert (tmp_path / "with" / FILE).read_bytes() == first


def test_the_deal_is_a_label_with_its_best_guess(tmp_path):
    _, found = made(tmp_path, fields=True, label="deal")
    assert {sample.label for sample in found} == set(offers.DEALS)
    first = found[0]
    assert first.truth["best_label"] == offers.best_deal(first.truth["objects"][0]["shape"], first.fields)
    assert json.dumps(first.truth)


def test_a_deal_needs_a_table():
    with pytest.raises(InputError, match="label of the source scenes is deal, and nothing is on offer: set fields to"):
        Scenes(ScenesParams.model_validate(SECTION | {"label": "deal"}))
