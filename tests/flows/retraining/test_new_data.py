"""What is new of a data set: its folder, a mirror on the disk and a mirror behind a real HTTP server."""

import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.retraining import new_data
from flows.retraining.new_data import forget_partial, look, note
from stages import download
from stages.params import Params
from tests.support.small_data import encode, make_image, make_params

SECTION = {"source": "image_folder", "torchvision": "none", "val_fraction": 0.2, "test_fraction": 0.2, "sha256": ""}
ARCHIVE = "pictures.zip"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with an archive of images."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    publish(folder, "first")
    return folder


@pytest.fixture
def address(mirror: Path) -> Iterator[str]:
    """The same folder behind an HTTP server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def publish(folder: Path, words: str, seconds: int = 1_000_000) -> None:
    """Write an archive whose comment, and so whose bytes, are `words`; its time is given."""
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        member = zipfile.ZipInfo("cat/1.png", (2000, 1, 1, 0, 0, 0))  # the clock is not to change the bytes
        archive.writestr(member, encode(make_image(1), "PNG"))
        archive.comment = words.encode()
    os.utime(folder / ARCHIVE, (seconds, seconds))


def params(root: Path, **changes: str) -> Params:
    section = {**SECTION, "folder": "none", "archive": "", "mirror": "", **changes}
    return make_params(root, {"datasets.own": section})


def put(root: Path, **files: str) -> None:
    for name, words in files.items():
        path = root / "data/own" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words)


def test_new_changed_and_removed_files_are_told_apart_and_named(root: Path):
    put(root, a="1", b="1", c="1")
    section = params(root, folder="own").datasets["own"]
    first = look(root, "own", section)
    assert first.words() == ["data set own: first look, 3 files (a.txt, b.txt, c.txt)"]
    note(root, first)
    assert look(root, "own", section).words() == []
    put(root, b="2", d="1", e="1", f="1", g="1")
    (root / "data/own/c.txt").unlink()
    found = look(root, "own", section)
    assert (found.new, found.changed, found.removed) == (
        ("d.txt", "e.txt", "f.txt", "g.txt"),
        ("b.txt",),
        ("c.txt",),
    )
    assert found.words() == [
        "data set own: 4 new (d.txt, e.txt, f.txt and 1 more), 1 changed (b.txt), 1 removed (c.txt)"
    ]


def test_what_was_seen_but_not_noted_is_new_again(root: Path):
    put(root, a="1")
    section = params(root, folder="own").datasets["own"]
    note(root, look(root, "own", section))
    put(root, b="1")
    assert look(root, "own", section).new == ("b.txt",)
    assert look(root, "own", section).new == ("b.txt",)


def test_a_file_is_read_again_only_when_its_size_or_time_changed(root: Path, monkeypatch: pytest.MonkeyPatch):
    put(root, a="1", b="1")
    section = params(root, folder="own").datasets["own"]
    note(root, look(root, "own", section))
    os.utime(root / "data/own/b.txt", (5, 5))
    read: list[str] = []
    hashed = new_data.sha256_file
    monkeypatch.setattr(new_data, "sha256_file", lambda path: (read.append(path.name), hashed(path))[1])
    assert look(root, "own", section).words() == []
    assert read == ["b.txt"]


def test_a_note_that_cannot_be_read_is_a_first_look(root: Path):
    put(root, a="1")
    section = params(root, folder="own").datasets["own"]
    note(root, look(root, "own", section))
    (root / ".fuseline/fingerprints/own.json").write_text('{"folder": {"a.txt": ')
    assert look(root, "own", section).is_first


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_a_mirror_whose_archive_changed_is_told_from_one_that_did_not(
    root: Path, mirror: Path, address: str, kind: str
):
    place = str(mirror) if kind == "folder" else address
    made = params(root, archive=ARCHIVE, mirror=place)
    section = made.datasets["own"]
    assert look(root, "own", section).upstream == ()  # never downloaded: DVC runs the stage anyway
    download.run(made, "own")
    first = look(root, "own", section)
    assert (first.upstream, first.unknown) == ((), ())
    note(root, first)
    publish(mirror, "other", seconds=2_000_000)  # as long as the first
    changed = look(root, "own", section)
    assert changed.upstream == (ARCHIVE,)
    assert changed.words() == [f"data set own: changed upstream ({ARCHIVE})"]
    download.run(made, "own")
    note(root, changed)
    assert look(root, "own", section).upstream == ()


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_without_a_note_the_download_is_what_a_mirror_is_compared_with(
    root: Path, mirror: Path, address: str, kind: str
):
    made = params(root, archive=ARCHIVE, mirror=str(mirror) if kind == "folder" else address)
    download.run(made, "own")
    assert look(root, "own", made.datasets["own"]).upstream == ()
    publish(mirror, "longer than the first")
    assert look(root, "own", made.datasets["own"]).upstream == (ARCHIVE,)


def test_a_touched_archive_with_the_same_bytes_is_not_new(root: Path, mirror: Path):
    made = params(root, archive=ARCHIVE, mirror=str(mirror))
    download.run(made, "own")
    note(root, look(root, "own", made.datasets["own"]))
    publish(mirror, "first", seconds=2_000_000)
    os.utime(mirror / ARCHIVE, (3_000_000, 3_000_000))
    same = look(root, "own", made.datasets["own"])
    assert same.fingerprint.mirror[ARCHIVE].mtime_ns == 3_000_000 * 10**9
    assert same.words() == []


def test_a_mirror_that_is_away_is_unknown_and_what_was_noted_stays(root: Path, mirror: Path, address: str):
    made = params(root, archive=ARCHIVE, mirror=address)
    download.run(made, "own")
    note(root, look(root, "own", made.datasets["own"]))
    (mirror / ARCHIVE).rename(mirror / "away")
    away = look(root, "own", made.datasets["own"])
    assert away.upstream == ()
    assert away.unknown == (
        f"data set own: not known whether {ARCHIVE} changed ({address}/{ARCHIVE}: HTTP 404 File not found)",
    )
    note(root, away)
    (mirror / "away").unlink()
    publish(mirror, "other", seconds=2_000_000)
    assert look(root, "own", made.datasets["own"]).upstream == (ARCHIVE,)


def test_a_server_that_does_not_answer_is_unknown_within_the_timeout(root: Path, monkeypatch: pytest.MonkeyPatch):
    import socket

    monkeypatch.setattr(new_data, "HEAD_TIMEOUT_S", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        place = f"http://name:secret@127.0.0.1:{deaf.getsockname()[1]}"
        found = look(root, "own", params(root, archive=ARCHIVE, mirror=place).datasets["own"])
    assert "no answer in 0.2 s" in found.unknown[0]
    assert "secret" not in found.unknown[0]


def test_a_pinned_archive_is_not_asked_about(root: Path, mirror: Path):
    found = look(root, "own", params(root, archive=ARCHIVE, mirror="/nowhere", sha256="0" * 64).datasets["own"])
    assert (found.fingerprint.mirror, found.unknown) == ({}, ())


def test_a_changed_archive_is_not_taken_from_a_download_that_was_killed(root: Path, mirror: Path):
    made = params(root, archive=ARCHIVE, mirror=str(mirror))
    download.run(made, "own")
    kept = root / ".fuseline/downloads/own" / ARCHIVE
    kept.write_bytes((mirror / ARCHIVE).read_bytes())
    publish(mirror, "second edition")
    forget_partial(root, look(root, "own", made.datasets["own"]))
    download.run(made, "own")
    assert b"second edition" in (root / "artifacts/download/own" / ARCHIVE).read_bytes()
