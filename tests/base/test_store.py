"""An artifact is there as a whole or not at all, whatever happens to the process that writes it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.base.store import (
    MANIFEST,
    artifact_path,
    digest,
    locked,
    read_manifest,
    replace_folder,
    sha256_file,
    write_json,
    writing,
)

FOLDER = Path("artifacts/prepare/toy")
KILLS = 60
KILLED_WRITERS = f"""
import os, random, signal, time
from pathlib import Path
from stages.base.store import artifact_path, read_manifest, writing

random.seed(7)
folder = artifact_path("prepare", "toy")

def write_again_and_again():
    for number in range(10**6):
        with writing("prepare", "toy", {{}}) as draft:
            for part in range(4):
                (draft.folder / f"{{part}}.bin").write_bytes(bytes([number % 256]) * 50_000)
        time.sleep(0.002)

for kill in range({KILLS}):
    pid = os.fork()
    if pid == 0:
        write_again_and_again()
    time.sleep(random.uniform(0, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    halfway = folder.with_name(".toy.partial").exists() or folder.with_name(".toy.old").exists()
    if folder.exists():
        read_manifest(folder)
        parts = [(folder / f"{{part}}.bin").read_bytes() for part in range(4)]
        assert len(set(parts)) == 1 and len(parts[0]) == 50_000
    print("halfway" if halfway else "between", "complete" if folder.exists() else "absent", flush=True)
"""
FIRST_WRITER = """
from stages.base.store import writing
with writing("prepare", "toy", {}) as draft:
    (draft.folder / "who").write_text("first")
    print("writing", flush=True)
    input()
"""
SECOND_WRITER = """
from stages.base.store import writing
with writing("prepare", "toy", {}) as draft:
    (draft.folder / "who").write_text("second")
print("done")
"""


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_toy(content: str = "text") -> None:
    with writing("prepare", "toy", {"knob": 1}) as draft:
        (draft.folder / "data").mkdir()
        (draft.folder / "data/a.txt").write_text(content)
        draft.counts["samples"] = 2
        draft.settings["tokenizer"] = "words-1"


def beside() -> list[str]:
    return sorted(path.name for path in FOLDER.parent.iterdir())


def test_an_artifact_says_what_it_holds_and_how_it_was_made():
    write_toy()
    assert artifact_path("prepare", "toy") == FOLDER
    assert beside() == ["toy"]
    assert (FOLDER / "data/a.txt").read_text() == "text"
    sha256 = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"  # sha256sum of `text`
    assert read_manifest(FOLDER) == {
        "schema_version": 1,
        "stage": "prepare",
        "name": "toy",
        "params": {"knob": 1},
        "counts": {"samples": 2},
        "settings": {"tokenizer": "words-1"},
        "files": {"data/a.txt": {"sha256": sha256, "bytes": 4}},
    }


def test_the_same_content_gives_the_same_bytes():
    write_toy()
    first = {path.name: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    write_toy()
    assert {path.name: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()} == first


@pytest.mark.parametrize("place_is_taken", [False, True])
def test_a_block_that_fails_leaves_what_was_there(place_is_taken):
    if place_is_taken:
        write_toy("old")
    with pytest.raises(RuntimeError, match="half done"), writing("prepare", "toy", {}) as draft:
        (draft.folder / "b.txt").write_text("new")
        raise RuntimeError("half done")
    assert beside() == (["toy"] if place_is_taken else [])
    if place_is_taken:
        assert read_manifest(FOLDER)["params"] == {"knob": 1}
        assert (FOLDER / "data/a.txt").read_text() == "old"


def test_a_new_artifact_takes_the_place_of_the_old_one_whole():
    write_toy("old")
    with writing("prepare", "toy", {}) as draft:
        (draft.folder / "b.txt").write_text("new")
    assert beside() == ["toy"]
    assert sorted(path.name for path in FOLDER.iterdir()) == ["b.txt", MANIFEST]


def test_a_writer_killed_at_any_moment_leaves_a_complete_artifact_or_none():
    done = subprocess.run([sys.executable, "-c", KILLED_WRITERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert len(outcomes) == KILLS
    assert sum(moment == "halfway" for moment, _ in outcomes) >= 10  # the kills did hit writers at work
    write_toy("after the kills")
    assert (FOLDER / "data/a.txt").read_text() == "after the kills"
    assert beside() == ["toy"]


def test_what_a_kill_between_two_moves_left_is_removed():
    write_toy("old")
    FOLDER.rename(FOLDER.with_name(".toy.old"))  # the new folder was not moved in
    with pytest.raises(InputError, match="no complete artifact there"):
        read_manifest(FOLDER)
    write_toy("new")
    assert beside() == ["toy"]


def test_a_second_writer_waits_and_says_so():
    command = [sys.executable, "-u", "-c"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, FIRST_WRITER], **pipes) as first:
        assert first.stdout and first.stdout.readline() == "writing\n"
        with subprocess.Popen([*command, SECOND_WRITER], **pipes) as second:
            assert second.stdout
            assert second.stdout.readline() == "another process is writing prepare-toy; waiting for it to end\n"
            assert second.poll() is None
            assert beside() == [".toy.partial"]
            assert (FOLDER.with_name(".toy.partial") / "who").read_text() == "first"
            first.communicate("\n")
            assert second.communicate()[0] == "done\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert (FOLDER / "who").read_text() == "second"
    read_manifest(FOLDER)


def test_writers_of_different_artifacts_do_not_wait(capsys):
    with locked("prepare-toy"), locked("prepare-other"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            lambda: (FOLDER / "data/a.txt").write_text("tex"),
            "artifacts/prepare/toy/data/a.txt has 3 bytes, the manifest says 4; "
            "remove artifacts/prepare/toy and run `dvc repro`",
            id="a file cut short",
        ),
        pytest.param(
            lambda: (FOLDER / "data/a.txt").unlink(),
            "artifacts/prepare/toy/data/a.txt is missing, the manifest says 4; ",
            id="a file gone",
        ),
        pytest.param(
            lambda: (FOLDER / MANIFEST).unlink(),
            "artifacts/prepare/toy: no complete artifact there; run `dvc repro` to make it",
            id="no manifest",
        ),
        pytest.param(
            lambda: (FOLDER / MANIFEST).write_bytes((FOLDER / MANIFEST).read_bytes()[:100]),
            "artifacts/prepare/toy/manifest.json is damaged (",
            id="manifest cut short",
        ),
        pytest.param(
            lambda: (FOLDER / MANIFEST).write_text("[]"),
            "artifacts/prepare/toy/manifest.json is damaged (",
            id="manifest of another kind",
        ),
        pytest.param(
            lambda: (FOLDER / MANIFEST).write_text('{"schema_version": 0}'),
            "artifacts/prepare/toy: written with schema version 0, this code reads 1; ",
            id="manifest of another version",
        ),
    ],
)
def test_a_damaged_artifact_is_refused(damage, message):
    write_toy()
    damage()
    with pytest.raises(InputError) as caught:
        read_manifest(FOLDER)
    assert str(caught.value).startswith(message)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no complete artifact there; run `dvc repro` to make it"):
        read_manifest(FOLDER)


@pytest.mark.parametrize("place_is_taken", [False, True])
def test_a_folder_is_moved_over_another(place_is_taken):
    new, place = Path("new"), Path("place")
    new.mkdir()
    (new / "a").write_text("new")
    if place_is_taken:
        place.mkdir()
        (place / "b").write_text("old")
    replace_folder(new, place)
    assert [path.name for path in Path().iterdir()] == ["place"]
    assert [path.name for path in place.iterdir()] == ["a"]


def test_json_has_one_form_and_is_written_whole(tmp_path):
    write_json(tmp_path / "a.json", {"b": "\u00e9", "a": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf8") == '{\n "a": 1,\n "b": "\u00e9"\n}\n'
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": 2, "b": object()})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf8"))["a"] == 1


def test_digests_depend_on_values_and_not_on_key_order(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    (tmp_path / "empty").touch()
    assert sha256_file(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
