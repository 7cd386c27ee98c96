"""What is told of a prepared data set: counts that add up, splits by class, scripts, equal and nearly equal media."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.base.store import MANIFEST, artifact_path, read_manifest, write_json, writing
from stages.samples.alike import NEAR, near_equal_images, near_pairs
from stages.samples.checks import Outcome, prepare_rows
from stages.samples.overview import screen, script
from stages.samples.schema import QUARANTINE, SAMPLES
from stages.samples.writer import write_splits
from stages.sources.base import Fault, Question, RawSample
from tests.samples.test_checks import LIMITS
from tests.support.small_data import encode, make_image, sound
from tests.support.videos import shades, video

IMAGES = [encode(make_image(seed), "PNG") for seed in range(6)]


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prepared(items: list[RawSample | Fault]) -> Path:
    """Write samples as `prepare` does."""
    limits, outcome = LIMITS.model_copy(update={"max_image_megapixels": 1, "max_video_seconds": 2.0}), Outcome()
    with writing("prepare", "own", {}) as draft:
        rows = prepare_rows(iter(items), (), limits, outcome)
        draft.counts |= write_splits(rows, draft.folder, SAMPLES, 2**20)
        pq.write_table(pa.Table.from_pylist(outcome.quarantine, schema=QUARANTINE), draft.folder / "quarantine.parquet")
        draft.counts |= {"bad_samples": outcome.bad_samples, "not_on_a_split": outcome.not_on_a_split}
    return artifact_path("prepare", "own")


def test_counts_add_up_and_each_column_is_told():
    told = screen(
        prepared(
            [
                RawSample("a", "train", image=IMAGES[0], audio=sound(0.05), texts=("Two dogs.", "两只狗"), label="dog"),
                RawSample("b", "train", image=IMAGES[1], message="مرحبا", label="cat"),
                RawSample("c", "val", questions=(Question("What?", "red"), Question("Why so?", "blue")), label="dog"),
                RawSample("d", "test", image=IMAGES[2], label="dog", group="ann"),
                RawSample("e", None, image=IMAGES[3]),
                RawSample("f", "test", image=b"damaged"),
                Fault("list.txt: row 3", "no such file"),
            ]
        )
    )
    for line in [
        "samples: 6 read = 4 kept + 1 put aside + 1 on no split",
        "splits: train 2, val 1, test 1",
        "image: 3 (PNG 3), 24x16 pixels",
        "audio: 1 (WAV 1), 8000 Hz, 0.05 to 0.05 s, median 0.05, 0.0 minutes in all",
        "message: 1, 1 to 1 words, median 1; in Arabic 1",
        "questions: 2 of 1 samples, 1 to 2 words, median 1.5; in Latin 2",
        "! answers: 2 not in training: blue, red",
        "label: 2 different (train/val/test): dog 1/1/1, cat 1/0/0",
        "group: 1 different (train/val/test): ann 0/0/1",
        "! put aside: 1 times no such file: list.txt: row 3",
    ]:
        assert f"\n  {line}\n" in f"{told}\n"
    assert "in Latin 1, Han 1" in told


def test_videos_are_told_by_kind_size_rate_and_length_and_equal_ones_by_their_splits():
    films = [video(), video(shades(5, (32, 32)), kind="webm", codec="libvpx")]
    samples = [RawSample("a", "train", video=films[0]), RawSample("b", "val", video=films[1])]
    told = screen(prepared([*samples, RawSample("c", "test", video=films[0])]))
    assert "\n  video: 3 (MP4 2, WEBM 1), 48x32, 32x32 pixels, 10 frames a second, 0.50 to 1.00 s, median 1.00" in told
    assert "\n  ! equal videos: 1 stand under another sample already" in told


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("train", "train", "\n  equal images: 1 stand under another sample already"),
        (
            "train",
            "test",
            "\n  ! 1 of these stand on another split, so that training knows what is asked: a (train) = b (test)",
        ),
    ],
)
def test_equal_images_are_told_and_where_they_stand(first, second, told):
    same = [RawSample("a", first, image=IMAGES[0]), RawSample("b", second, image=IMAGES[0])]
    assert told in screen(prepared([*same, RawSample("c", "train", image=IMAGES[1])]))
    assert "equal" not in screen(
        prepared([RawSample("a", first, image=IMAGES[0]), RawSample("b", second, image=IMAGES[1])])
    )


@pytest.mark.parametrize(
    ("rows", "told"), [(5, "\n  rows: 5 read = 2 samples + 1 empty + 2 that"), (6, "\n  ! rows: 6 read")]
)
def test_rows_of_a_table_are_counted_and_a_sum_that_does_not_add_up_is_marked(rows, told):
    folder = prepared([RawSample("a", "train", message="So good!"), RawSample("b", "test", message="so")])
    manifest = read_manifest(folder)
    manifest["counts"] |= {"rows_read": rows, "rows_empty": 1, "rows_joined": 2}
    write_json(folder / MANIFEST, manifest)
    assert told in screen(folder)


def test_equal_texts_are_told_only_where_a_sample_has_nothing_else():
    alone = [RawSample("a", "train", message="So good!"), RawSample("b", "test", message="so good")]
    assert "a (train) = b (test)" in screen(prepared(alone))
    beside = [
        RawSample(n, s, image=IMAGES[i], message="So") for i, (n, s) in enumerate([("a", "train"), ("b", "test")])
    ]
    assert "equal" not in screen(prepared(beside))


def test_a_picture_stored_anew_is_nearly_equal_and_another_one_is_not():
    large = [make_image(seed, (96, 64)) for seed in range(4)]
    stored_anew = [encode(large[0], "JPEG", quality=75), encode(large[1].resize((48, 32)), "PNG")]
    samples = [RawSample(f"old{i}", "train", image=encode(image, "PNG")) for i, image in enumerate(large)]
    samples += [RawSample(f"new{i}", "test", image=data) for i, data in enumerate(stored_anew)]
    found, across = near_equal_images(prepared([*samples, RawSample("same", "test", image=encode(large[2], "PNG"))]))
    assert found.endswith("2 pairs of 7")  # an equal one is told elsewhere
    assert across.endswith("stand on two splits: old0 (train) ~ new0 (test); old1 (train) ~ new1 (test)")


def test_near_pairs_are_those_of_every_pair_compared_one_by_one():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (60, 30)).astype(np.float32)
    x[30:] = x[:30] + rng.uniform(-6, 6, (30, 30)).astype(np.float32)
    every = [(i, j) for i in range(60) for j in range(i + 1, 60) if 0 < np.sqrt(((x[i] - x[j]) ** 2).mean()) < NEAR]
    assert every and list(near_pairs(x)) == every


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two dogs", "Latin"),
        ("żółć", "Latin"),
        ("两只狗 ok", "Han"),
        ("これはペン", "Hiragana"),
        ("दिन", "Devanagari"),
        ("안녕", "Hangul"),
        ("สวัสดี", "Thai"),
        ("שלום", "Hebrew"),
        ("👍", "signs"),
        ("12 + 3", "signs"),
    ],
)
def test_a_text_has_the_script_of_most_of_its_letters(text, expected):
    assert script(text) == expected
