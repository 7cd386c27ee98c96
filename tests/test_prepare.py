"""Samples are checked, cleaned, split and tokenised in bounded memory, and nothing bad is dropped in silence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages import download, prepare
from stages.base.errors import InputError
from stages.base.store import QUARANTINE_FILE, SPLITS, VOCABULARY, read_manifest, writing
from stages.media.text import SPECIALS
from stages.params import Params
from stages.samples.schema import QUARANTINE, samples_schema
from stages.sources import SOURCES, scenes
from tests.support.small_data import caption_rows, encode, make_image, make_params, pixels, write_flickr8k
from tests.support.small_disk import on_a_small_disk
from tests.support.videos import shades, video

PHOTOS = Path("artifacts/prepare/photos")
SCENES = Path("artifacts/prepare/scenes")
KEPT = Path(".fuseline/quarantine/photos.parquet")
JPEG = encode(make_image())
PEAK_OF_PREPARE = """
import os
child = os.fork()  # the peak that a started process reports includes that of the one which started it
if child == 0:
    from stages import prepare
    from stages.params import load_params
    prepare.run(load_params(), "scenes")
    os._exit(0)
_, status, usage = os.wait4(child, 0)
print("peak", status, usage.ru_maxrss)
"""


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def photos(
    images: dict[str, bytes], captions: str, lists: dict[str, list[str]], changes: dict[str, Any] | None = None
) -> Params:
    """Download a small Flickr8k from a folder; return its params."""
    section = write_flickr8k(Path("mirror"), images, captions, lists)
    small = {"datasets.photos": section, "prepare.max_image_megapixels": 0.001, "prepare.min_word_count": 1}
    params = make_params(Path(), small | (changes or {}))
    download.run(params, "photos")
    return params


def photos_with_bad(bad: int, total: int = 100, changes: dict[str, Any] | None = None) -> Params:
    """Download images of which the first `bad` do not decode."""
    names = [f"{number:03d}.jpg" for number in range(total)]
    images = {name: b"damaged" if number < bad else JPEG for number, name in enumerate(names)}
    return photos(images, caption_rows(names), {"train": names}, changes)


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(f"{split}-*.parquet")) for row in pq.read_table(path).to_pylist()]


def quarantined(path: Path) -> list[tuple[str, str]]:
    table = pq.read_table(path)
    assert table.schema == QUARANTINE
    return [(row["where"], row["reason"]) for row in table.to_pylist()]


def failure(params: Params) -> str:
    with pytest.raises(InputError) as caught:
        prepare.run(params, "photos")
    assert not PHOTOS.exists()
    return str(caught.value)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x010E] = "a place and a time"
    block[0x0112] = orientation
    return block


# A whole data set


def test_a_data_set_with_every_fault_is_sorted_into_splits_and_quarantine(capsys):
    turned = make_image(3, size=(20, 10))
    images = {
        "corrupt.jpg": b"\xff\xd8\xff\xe0 no picture",
        "exif.jpg": encode(make_image(1), exif=exif(1)),
        "free.jpg": b"on no list",
        "good.jpg": JPEG,
        "half.jpg": encode(make_image(2)),
        "huge.jpg": encode(make_image(size=(40, 30))),
        "mute.jpg": JPEG,
        "turned.png": encode(turned, "PNG", exif=exif(6)),
    }
    captions = caption_rows(["corrupt.jpg", "exif.jpg", "gone.jpg", "good.jpg", "huge.jpg", "turned.png"])
    captions += "half.jpg#0\t.\nhalf.jpg#1\tOne\tdog .\nhalf.jpg#1\tTwo dogs .\ngood.jpg.1#0\tNo dog .\n"
    lists = {
        "train": ["exif.jpg", "good.jpg", "huge.jpg", "half.jpg", "good.jpg"],
        "val": ["turned.png", "corrupt.jpg"],
        "test": ["mute.jpg", "gone.jpg"],
    }
    prepare.run(photos(images, captions, lists, {"prepare.max_bad_fraction": 0.5}), "photos")

    assert {split: [row["sample_id"] for row in rows(PHOTOS, split)] for split in SPLITS} == {
        "train": ["exif.jpg", "good.jpg", "half.jpg"],
        "val": ["turned.png"],
        "test": [],
    }
    found = quarantined(PHOTOS / QUARANTINE_FILE)
    assert [(where, reason) for where, reason in found if where != "corrupt.jpg"] == [
        ("Flickr8k.token.txt: row 33", "caption 1 of half.jpg again"),
        ("Flickr_8k.trainImages.txt: row 5", "good.jpg is listed again"),
        ("gone.jpg", "named on a list, but the source has no such image"),
        ("Flickr8k.token.txt: good.jpg.1", "captions of an image that the archive lacks"),
        ("half.jpg", "1 captions without a word"),
        ("huge.jpg", "image of 40 x 30 pixels; at most 1000 allowed"),
        ("mute.jpg", "no caption"),
    ]
    assert dict(found)["corrupt.jpg"].startswith("image does not decode: ")
    assert read_manifest(PHOTOS)["counts"] == {
        "train": 3,
        "val": 1,
        "test": 0,
        "bad_samples": 4,
        "quarantine_rows": 8,
        "not_on_a_split": 1,
        "vocabulary_texts": 4 + 9,  # a dog number zero one two three four runs
        "images_turned": 1,
    }
    told = capsys.readouterr().out
    assert "prepare photos: train 3, val 1, test 0, bad_samples 4, " in told
    assert "prepare photos: images altered: 1 turned upright by their EXIF\n" in told

    exif_row, good, half = rows(PHOTOS, "train")
    assert pq.read_schema(PHOTOS / "train-00000.parquet") == samples_schema(("image", "texts"))
    assert good["image"] == JPEG
    assert half["texts"] == ["One dog ."]
    assert b"a place and a time" in images["exif.jpg"]
    assert b"a place and a time" not in exif_row["image"]
    np.testing.assert_array_equal(pixels(exif_row["image"]), pixels(images["exif.jpg"]))
    upright = pixels(rows(PHOTOS, "val")[0]["image"])
    np.testing.assert_array_equal(upright, np.rot90(np.asarray(turned), -1))


def test_the_vocabulary_is_that_of_the_training_split():
    names = ["a.jpg", "b.jpg", "c.jpg"]
    captions = "a.jpg#0\tRed dog red .\na.jpg#1\tA dog .\nb.jpg#0\tBlue blue cat .\nc.jpg#0\tGreen green dog .\n"
    lists = {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}
    params = photos(dict.fromkeys(names, JPEG), captions, lists, {"prepare.min_word_count": 2})
    prepare.run(params, "photos")
    assert json.loads((PHOTOS / VOCABULARY).read_text()) == {
        "texts": [*SPECIALS, "dog", "red"],
        "message": [*SPECIALS],
        "questions": [*SPECIALS],
        "answers": [],
        "labels": [],
        "transcript": [*SPECIALS],
        "transcript_characters": [*SPECIALS],
    }
    assert rows(PHOTOS, "val")[0]["tokens"] == ["blue blue cat"]


@pytest.mark.parametrize("bad", [0, 1, 5])
def test_few_bad_samples_are_put_aside_and_said(bad, capsys):
    prepare.run(photos_with_bad(bad), "photos")
    said = capsys.readouterr().out.partition(f"put aside, all in {PHOTOS / QUARANTINE_FILE}:\n")[2]
    said = said.partition("data set photos")[0].splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"  00{n}.jpg" for n in range(bad)]
    counts = read_manifest(PHOTOS)["counts"]
    assert (counts["train"], counts["bad_samples"]) == (100 - bad, bad)
    assert [where for where, _ in quarantined(PHOTOS / QUARANTINE_FILE)] == [f"00{n}.jpg" for n in range(bad)]
    assert not KEPT.exists()


@pytest.mark.parametrize("bad", [6, 30])
def test_too_many_bad_samples_fail_with_counts_examples_and_the_whole_list(bad):
    first, *examples = failure(photos_with_bad(bad)).split("\n")
    assert first == (
        f"data set photos: {bad} of 100 samples are bad, more than prepare.max_bad_fraction 0.05 allows; "
        f"all faults are in {KEPT}"
    )
    assert len(examples) == 5
    for number, example in enumerate(examples):
        assert example.startswith(f"  00{number}.jpg: image does not decode: ")
    assert [where for where, _ in quarantined(KEPT)] == [f"{number:03d}.jpg" for number in range(bad)]


def test_examples_are_of_bad_samples_though_other_faults_come_first():
    captions = "".join(f"row {number}\n" for number in range(9)) + "a.jpg#0\tA dog .\n"
    params = photos({"a.jpg": JPEG, "b.jpg": JPEG}, captions, {"train": ["a.jpg", "b.jpg"]})
    assert failure(params).split("\n")[1:] == ["  b.jpg: no caption"]
    assert len(quarantined(KEPT)) == 10


def test_a_data_set_without_a_good_sample_fails_whatever_is_allowed():
    params = photos_with_bad(3, total=3, changes={"prepare.max_bad_fraction": 1.0})
    assert failure(params).startswith(f"data set photos: all 3 samples are bad; all faults are in {KEPT}\n  000.jpg: ")


def test_a_data_set_without_a_sample_on_a_split_fails():
    params = photos({"a.jpg": JPEG}, caption_rows(["a.jpg"]), {})
    assert failure(params) == f"data set photos: no sample is on a split; all faults are in {KEPT}"


def test_a_failure_keeps_the_artifact_of_the_run_before():
    prepare.run(photos_with_bad(0), "photos")
    before = read_manifest(PHOTOS)
    with pytest.raises(InputError, match="30 of 100 samples are bad"):
        prepare.run(photos_with_bad(30), "photos")
    assert read_manifest(PHOTOS) == before


def test_raw_files_that_are_not_there_are_asked_for():
    params = make_params(Path(), {})
    with pytest.raises(InputError, match="artifacts/download/scenes: no complete artifact there; run `dvc repro`"):
        prepare.run(params, "scenes")


# Files, memory and space


def write_scenes(num_samples: int, image_size_px: int, distinct: int) -> Params:
    """Write the raw file of `scenes`, all on the training split; pictures repeat after `distinct`."""
    section = {"samples": distinct, "image_size_px": image_size_px, "max_objects": 1, "captions_per_image": 1}
    section |= {"questions_per_image": 1}
    params = make_params(Path(), {f"datasets.scenes.{key}": value for key, value in section.items()})
    with writing("download", "scenes", {}) as draft:
        SOURCES["scenes"](params.datasets["scenes"]).generate(draft.folder, seed=7)
        path = draft.folder / scenes.FILE
        table = pq.read_table(path)
        with pq.ParquetWriter(path, scenes.SCHEMA, compression="none") as writer:
            for start in range(0, num_samples, distinct):
                ids = pa.array([f"scene-{start + place:08d}" for place in range(distinct)])
                renamed = table.set_column(0, "sample_id", ids)
                writer.write_table(renamed.set_column(1, "split", pa.array(["train"] * distinct)))
    return params


def test_a_second_run_gives_the_same_bytes():
    params = write_scenes(num_samples=600, image_size_px=32, distinct=60)
    prepare.run(params, "scenes")
    first = {path.name: path.read_bytes() for path in SCENES.iterdir()}
    prepare.run(params, "scenes")
    assert {path.name: path.read_bytes() for path in SCENES.iterdir()} == first
    wanted = {"lexicon.json", "manifest.json", "quarantine.parquet", "train-00000.parquet", "vocabulary.json"}
    assert wanted == first.keys()


def test_memory_stays_flat_as_the_data_grows():
    peaks, sizes = {}, {}
    for num_samples in (1100, 5500):
        write_scenes(num_samples, image_size_px=96, distinct=110)
        found = []
        for _ in range(2):  # a busy machine moves the peak of the same work by 20 MB, upwards
            done = subprocess.run([sys.executable, "-c", PEAK_OF_PREPARE], capture_output=True, text=True)
            status, peak = done.stdout.rpartition("peak ")[2].split()
            assert status == "0", done.stderr
            assert read_manifest(SCENES)["counts"]["train"] == num_samples
            found.append(int(peak) * 1024)
        peaks[num_samples] = min(found)
        sizes[num_samples] = sum(path.stat().st_size for path in SCENES.glob("*.parquet"))
    assert sizes[5500] - sizes[1100] > 50e6
    assert peaks[5500] - peaks[1100] <= 0.25 * (sizes[5500] - sizes[1100])


def test_a_full_disk_is_named_without_a_traceback(tmp_path):
    write_scenes(num_samples=200, image_size_px=64, distinct=100)  # 2 MB
    script = f"{sys.executable} -m stages.prepare scenes; echo status $?; ls -A artifacts/prepare"
    done = on_a_small_disk(tmp_path, "artifacts/prepare", "300k", script)
    assert done.stdout == "status 1\n"  # and the half-written files are gone
    assert done.stderr == (
        "error: no space left on the disk while writing artifacts/prepare/scenes; make room and run the stage again\n"
    )


def test_videos_of_a_table_are_cleaned_and_their_sounds_told(capsys):
    Path("data/own").mkdir(parents=True)
    for name, film in {"a": video(sound_s=0.5), "b": video(shades(5)), "c": b"damaged"}.items():
        Path(f"data/own/{name}.mp4").write_bytes(film)
    Path("data/own/table.csv").write_text("clip,label\na.mp4,dog\nb.mp4,cat\nc.mp4,cat\n")
    roles = ("id", "image", "audio", "video", "text", "message", "question", "answer", "label", "group", "split")
    own = {"source": "table", "folder": "own", "table": "table.csv", "columns": dict.fromkeys(roles, "auto")}
    own |= {"split_by": "hash", "val_fraction": 0.0, "test_fraction": 0.0}
    params = make_params(Path(), {"datasets.own": own, "prepare.max_bad_fraction": 0.5})
    download.run(params, "own")
    prepare.run(params, "own")
    told = capsys.readouterr().out
    assert "\n  sounds: 1 are those of their videos\n" in told and "\n  video: 2 (MP4 2), 48x32 pixels" in told
    assert "! put aside: 1 times video does not open; expected MP4" in told
    found = pq.read_table("artifacts/prepare/own/train-00000.parquet").to_pylist()
    assert [(bool(row["video"]), bool(row["audio"]), row["label"]) for row in found] == [
        (True, True, "dog"),
        (True, False, "cat"),
    ]
