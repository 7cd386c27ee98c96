"""Raw files come into their place verified and whole, from a mirror or made from the seed."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

import stages.raw.fetch
from stages import download
from stages.base.errors import InputError
from stages.base.store import read_manifest, sha256_file
from stages.params import Params
from stages.sources.flickr8k import IMAGES, TEXT
from stages.sources.scenes import FILE
from tests.conftest import PROJECT, is_alive
from tests.support.running import wait_until
from tests.support.small_data import caption_rows, encode, make_image, make_params, write_flickr8k, write_params

NAMES = ["a.jpg", "b.jpg", "c.jpg"]
PHOTOS = Path("artifacts/download/photos")
SCENES = Path("artifacts/download/scenes")
WAITING = Path(".fuseline/downloads/photos")


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    """Work in an empty folder, where every address on the network refuses at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(stages.raw.fetch, "BACKOFF_S", 0)


def photos(changes: dict | None = None) -> Params:
    """Put both archives into the folder `mirror`; return params with the data set `photos`."""
    images = {name: encode(make_image(seed)) for seed, name in enumerate(NAMES)}
    section = write_flickr8k(Path("mirror"), images, caption_rows(NAMES), {"train": NAMES})
    return make_params(Path(), {"datasets.photos": section, **(changes or {})})


def scenes(changes: dict | None = None) -> Params:
    small = {"datasets.scenes.samples": 20, "datasets.scenes.image_size_px": 32}
    return make_params(Path(), small | (changes or {}))


def test_archives_come_from_a_folder_and_stay_archives(capsys):
    params = photos()
    download.run(params, "photos")
    assert sorted(path.name for path in PHOTOS.iterdir()) == [IMAGES, TEXT, "manifest.json"]
    assert sha256_file(PHOTOS / IMAGES) == sha256_file(Path("mirror") / IMAGES)
    manifest = read_manifest(PHOTOS)
    assert manifest["counts"] == {IMAGES: 3, TEXT: 5, "files": 2}
    assert manifest["params"] == params.datasets["photos"].model_dump()
    assert manifest["files"][TEXT]["sha256"] == params.datasets["photos"].text_sha256
    assert capsys.readouterr().out == "download photos: 2 files\n"
    assert list(WAITING.iterdir()) == []


def test_a_source_that_needs_no_download_makes_its_files():
    download.run(scenes(), "scenes")
    assert read_manifest(SCENES)["counts"] == {"files": 1}


@pytest.mark.parametrize(
    ("change", "is_the_same"),
    [({}, True), ({"base.seed": 8}, False), ({"train.epochs": 3}, True), ({"datasets.scenes.noise": 0.5}, False)],
)
def test_the_same_seed_and_section_give_the_same_bytes(change, is_the_same):
    download.run(scenes(), "scenes")
    first = {path.name: path.read_bytes() for path in SCENES.iterdir()}
    download.run(scenes(change), "scenes")
    assert ({path.name: path.read_bytes() for path in SCENES.iterdir()} == first) == is_the_same


def kill_workers(process: subprocess.Popen) -> None:
    for child in psutil.Process(process.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()


@pytest.mark.parametrize(
    ("stop", "code", "told"),
    [
        (lambda process: os.killpg(process.pid, signal.SIGINT), 130, ""),
        (kill_workers, 1, "error: one of 2 processes at work was killed from outside"),
    ],
    ids=["Ctrl-C", "a worker is killed"],
)
def test_scenes_that_are_stopped_half_way_leave_nothing_and_one_message(stop, code, told):
    write_params(Path("params.yaml"), {"datasets.scenes.samples": 10**6})
    script = (
        "from stages.sources import scenes; scenes.usable_cores = lambda: 2;"
        "from stages import download; from stages.params.cli import main; main(download.command)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "scenes"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    half = SCENES.with_name(".scenes.partial") / FILE
    wait_until(lambda: half.exists() and half.stat().st_size > 100)
    children = [child.pid for child in psutil.Process(process.pid).children()]
    stop(process)
    stderr = process.communicate(timeout=60)[1]
    assert (process.returncode, stderr[: len(told)], stderr.count("\n")) == (code, told, bool(told))
    assert list(SCENES.parent.iterdir()) == []
    wait_until(lambda: not any(map(is_alive, children)))


def test_what_an_earlier_run_fetched_whole_is_not_fetched_again():
    params = photos()
    WAITING.mkdir(parents=True)
    for name in (IMAGES, TEXT):
        Path("mirror", name).rename(WAITING / name)
    shutil.rmtree("mirror")
    download.run(params, "photos")
    assert read_manifest(PHOTOS)["counts"]["files"] == 2


def test_a_waiting_file_with_other_bytes_is_fetched_again():
    params = photos()
    WAITING.mkdir(parents=True)
    (WAITING / IMAGES).write_bytes(b"of another version")
    download.run(params, "photos")
    assert sha256_file(PHOTOS / IMAGES) == params.datasets["photos"].images_sha256


@pytest.mark.parametrize(("wrong", "to_fetch"), [(IMAGES, f"{IMAGES} and {TEXT}"), (TEXT, TEXT)])
def test_a_wrong_checksum_is_refused_and_names_the_files_and_the_key(wrong, to_fetch):
    params = photos()
    with Path("mirror", wrong).open("ab") as file:
        file.write(b"!")
    with pytest.raises(InputError) as caught:
        download.run(params, "photos")
    first, mirror, public, last = str(caught.value).split("\n")
    assert first == f"cannot fetch {wrong}; tried:"
    assert mirror.startswith(f"  mirror/{wrong}: its sha256 is ")
    assert public.startswith("  https://")
    assert last == f"put {to_fetch} into a folder and set datasets.photos.mirror to it"
    assert not PHOTOS.exists()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"download.max_members": 5}, f"{IMAGES}: it has 6 members, allowed are 5 .download.max_members"),
        ({"download.max_member_mb": 1e-5}, "allowed are 10 .download.max_member_mb"),
        ({"download.max_total_gb": 1e-6}, "brings the total to .* .download.max_total_gb"),
    ],
)
def test_an_archive_past_the_bounds_of_params_is_refused(limits, message):
    params = photos(limits)
    with pytest.raises(InputError, match=message):
        download.run(params, "photos")
    assert not PHOTOS.exists()


def test_a_damaged_archive_is_refused_though_its_checksum_is_the_expected_one():
    section = write_flickr8k(Path("mirror"), {"a.jpg": encode(make_image())}, "", {})
    path = Path("mirror", IMAGES)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("Flicker8k_Dataset/a.jpg").header_offset + 100
    content = bytearray(path.read_bytes())
    content[start] ^= 0xFF
    path.write_bytes(content)
    params = make_params(Path(), {"datasets.photos": section | {"images_sha256": sha256_file(path)}})
    with pytest.raises(InputError, match=r"member 'Flicker8k_Dataset/a.jpg' is damaged \(Bad CRC-32"):
        download.run(params, "photos")
    assert not PHOTOS.exists()


def test_a_failed_run_keeps_the_artifact_of_the_one_before():
    download.run(photos(), "photos")
    before = read_manifest(PHOTOS)
    shutil.rmtree("mirror")
    with pytest.raises(InputError, match="cannot fetch"):
        download.run(make_params(Path(), {"datasets.photos": before["params"]}), "photos")
    assert read_manifest(PHOTOS) == before


def test_the_command_makes_the_artifact_of_a_name():
    write_params(Path("params.yaml"), {"datasets.scenes.samples": 20, "datasets.scenes.image_size_px": 32})
    done = subprocess.run([sys.executable, "-m", "stages.download", "scenes"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "download scenes: 1 files\n", "")
    assert read_manifest(SCENES)["counts"] == {"files": 1}


def test_a_waiting_file_with_other_bytes_is_among_those_to_bring():
    params = photos()
    WAITING.mkdir(parents=True)
    (WAITING / IMAGES).write_bytes(b"of another version")
    shutil.rmtree("mirror")
    with pytest.raises(InputError, match=f"put {IMAGES} and {TEXT} into a folder"):
        download.run(params, "photos")
