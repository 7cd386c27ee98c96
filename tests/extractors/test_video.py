"""Features of videos: frames, what differs between them, and frames through extractors of images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.extractors import load_extractor, make_extractor
from stages.extractors.frames import SAME, differences
from stages.media.video import VideoBounds, clean_video, pictures
from tests.support.small_data import encode
from tests.support.tiny_models import write_tiny
from tests.support.videos import shades, video
from tests.test_features import torchvision_params

CPU = Device(torch.device("cpu"), torch.float32)
LONG, SHORT = (clean_video(video(shades(number)), VideoBounds(5, 1))[0] for number in (10, 3))
SAMPLING = {"modality": "video", "fps": 5.0, "seconds": 1.0}
FRAMES = {**SAMPLING, "extractor": "frames", "size_px": 16, "difference": False, "crop": [0.0, 0.0, 1.0, 1.0]}


def make(**values):
    return make_extractor(SimpleNamespace(**values), CPU, "features.x", None)


def of_torchvision(tmp_path, **changes):
    return make(**torchvision_params(tmp_path, layer="grid").model_dump() | SAMPLING | {"pool": 1} | changes)


def of_huggingface(tmp_path, **changes):
    pytest.importorskip("transformers", reason="needs the extra `huggingface`")
    model = str(write_tiny("clip", tmp_path / "clip"))
    values = {"extractor": "huggingface", "model": model, "revision": "", "level": "token", "layer": -1, "pool": 1}
    return make(**values | SAMPLING | changes)


MAKERS = {
    "frames": lambda tmp_path: make(**FRAMES),
    "difference": lambda tmp_path: make(**FRAMES | {"difference": True}),
    "torchvision": of_torchvision,
    "huggingface": of_huggingface,
    "huggingface pooled": lambda tmp_path: of_huggingface(tmp_path, level="pooled"),
}


@pytest.fixture(autouse=True)
def project(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))


@pytest.fixture(params=MAKERS)
def made(request, tmp_path):
    return MAKERS[request.param](tmp_path)


def extracted(found, *media):
    return found.extract(np.stack([found.decode(item) for item in media]))


def test_a_frame_each_moment_and_zeros_behind_the_end(made):
    x = extracted(made, LONG, SHORT)
    assert x.shape == (2, *made.shape) and x.dtype == made.dtype and made.shape[0] == 5
    assert x.reshape(2, 5, -1).any(2).tolist() == [[True] * 5, [True] * 2 + [False] * 3]


def test_a_clip_has_the_same_features_whatever_stands_beside_it_and_when_read_again(made, tmp_path):
    alone, beside = extracted(made, SHORT)[0], extracted(made, LONG, SHORT, LONG)[1]
    np.testing.assert_array_equal(alone, beside)
    (tmp_path / "saved").mkdir()
    made.save(tmp_path / "saved")
    again = load_extractor(tmp_path / "saved", CPU)
    assert again.identity() == made.identity() and again.shape == made.shape
    np.testing.assert_array_equal(extracted(again, SHORT)[0], alone)


def test_a_longer_video_is_told(made):
    assert made.longest == "1 s" and not made.exceeds(LONG)
    assert make(**FRAMES | {"seconds": 0.5}).exceeds(LONG)


@pytest.mark.parametrize(
    "change", [{"fps": 4.0}, {"seconds": 0.9}, {"size_px": 24}, {"difference": True}, {"crop": [0.0, 0.0, 0.5, 0.5]}]
)
def test_all_that_decides_frames_is_in_their_identity(change):
    assert make(**FRAMES | change).identity() != make(**FRAMES).identity()


def test_a_part_of_the_picture_can_be_all_that_is_read():
    colours = np.zeros((6, 32, 64, 3), np.uint8)
    colours[:, :16, 32:] = 200  # top right
    data = clean_video(video(colours), VideoBounds(5, 1))[0]
    part = extracted(make(**FRAMES | {"crop": [0.5, 0.0, 1.0, 0.5]}), data)[0, 0]
    whole = extracted(make(**FRAMES), data)[0, 0]
    assert part.min() > 150 and whole.min() < 30 and whole.max() > 150


def test_frames_of_an_image_extractor_are_the_features_of_these_images(tmp_path):
    for maker in (of_torchvision, of_huggingface):
        of_clips = maker(tmp_path)
        of_images = of_clips.images
        images = [encode(picture, "PNG") for _, picture in pictures(LONG, 5.0, 5)]
        wanted = of_images.extract(np.stack([of_images.decode(image) for image in images]))
        np.testing.assert_allclose(extracted(of_clips, LONG)[0], wanted, atol=2e-3)
        assert of_clips.identity() != of_images.identity()


def test_cells_are_made_fewer_and_what_cannot_be_is_named(tmp_path):
    cells, channels = of_torchvision(tmp_path).shape[1:]
    pooled = of_torchvision(tmp_path, pool=3)
    assert cells == 9 and pooled.shape == (5, 1, channels)
    whole = extracted(of_torchvision(tmp_path), LONG)[0].astype(np.float32)
    np.testing.assert_allclose(extracted(pooled, LONG)[0][:, 0], whole.mean(1), atol=1e-2)
    with pytest.raises(InputError, match="features.x.pool: 3 x 3 cells, which 2 does not divide"):
        of_torchvision(tmp_path, pool=2)


def test_differences_are_signed_and_a_still_picture_has_none():
    still = np.full((3, 2, 2, 3), 7, np.uint8)
    assert (differences(still) == SAME).all()
    moved = np.array([1, 255, 1, 0], np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
    assert differences(moved)[:, 0, 0, 0].tolist() == [SAME, 255, 1, 0]
