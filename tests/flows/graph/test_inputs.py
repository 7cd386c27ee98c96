"""What DVC cannot take is said before DVC meets it, by name and with the remedy."""

import os
import socket
from pathlib import Path

import pytest

from flows.graph.dependencies import stage_names
from flows.graph.dvc_stages import StageError
from flows.graph.inputs import check_inputs
from flows.repro import main


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/own/photos").mkdir(parents=True)
    Path("data/own/photos/猫 1.png").write_bytes(b"x")
    write_params("own")


def write_params(dataset: str, folder: str = "own") -> None:
    Path("params.yaml").write_text(f"datasets:\n  '{dataset}':\n    folder: {folder}\n", encoding="utf8")


def failure() -> str:
    with pytest.raises(StageError) as caught:
        check_inputs(Path())
    return str(caught.value)


def test_names_and_links_that_lead_somewhere_are_fine(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.png").write_bytes(b"x")
    Path("data/own/linked").symlink_to(tmp_path / "elsewhere")
    Path("data/own/a.png").symlink_to(tmp_path / "elsewhere/a.png")
    for name in ("own", "2024_a-b", "猫", "scènes"):
        write_params(name)
        check_inputs(Path())
    write_params("none-needed", "none")
    check_inputs(Path())


def pipe() -> None:
    os.mkfifo("data/own/pipe")


def socket_file() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("data/own/s")


def old_name() -> None:
    Path(os.fsdecode(b"data/own/caf\xe9.png")).write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda: os.symlink("/nowhere/x.png", "data/own/gone.png"), "data/own/gone.png: it links to /nowhere/x.png, "),
        (lambda: os.symlink("..", "data/own/photos/up"), "data/own/photos/up: it links back to a folder that it lies"),
        (old_name, r"'data/own/caf\udce9.png': its name is not UTF-8, as in old archives: rename it"),
        (pipe, "data/own/pipe: it is a fifo and no file: move it away"),
        (socket_file, "data/own/s: it is a socket or device and no file: move it away"),
        (lambda: write_params("own", "other"), "data/other failed: there is no such folder: put your files there"),
        (lambda: write_params("my data"), "got the name 'my data'; expected letters, digits, _ and -, at most 80 and"),
        (lambda: write_params("A/B"), "such as A-B: commands, folders and registered models are called after it"),
        (lambda: write_params("-x"), "such as x: "),
        (lambda: write_params("none"), "got the name 'none'; "),
        (lambda: write_params("a" * 81), f"such as {'a' * 80}: "),
    ],
)
def test_what_dvc_cannot_take_is_named(spoil, told, capsys):
    spoil()
    assert told in failure()
    with pytest.raises(StageError, match="reading "):
        stage_names(Path())
    assert main([]) == 1
    assert told in capsys.readouterr().out


def test_a_read_only_project_is_said(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere else
    assert failure().startswith("writing here failed: . is read-only for this user: copy the project to where")


def test_of_many_the_first_are_named_and_the_rest_is_counted():
    for number in range(9):
        os.symlink("/nowhere", f"data/own/{number}")
    assert failure().splitlines()[-2].startswith("  data/own/4: ") and failure().endswith("\n  and 4 more")


def test_an_experiment_that_dvc_would_not_find_is_named_with_those_there_are():
    Path("params.yaml").write_text("experiments:\n  caption: {init: none}\n  vqa: {init: captoin}\n", encoding="utf8")
    assert failure().endswith("experiments.vqa.init: got 'captoin'; expected one of caption, none")


def test_what_dvc_reads_and_a_stage_does_not_need_is_asked_for():
    experiment = "{dataset: own, inputs: {image: photos, audio: none, text: none}}"
    Path("params.yaml").write_text(
        "datasets: {own: {source: table}}\nfeatures: {photos: {modality: image}}\n"
        f"experiments: {{x: {experiment}}}\n",
        encoding="utf8",
    )
    assert failure() == (
        "reading params.yaml failed: "
        "params.yaml: datasets.own.folder is missing, which dvc.yaml reads: add `folder: none`\n"
        "params.yaml: features.photos.dataset is missing, which dvc.yaml reads: add `dataset: the name of a data set`\n"
        "params.yaml: features.photos.answers is missing, which dvc.yaml reads: add `answers: none`\n"
        "params.yaml: experiments.x.init is missing, which dvc.yaml reads: add `init: none`\n"
        "params.yaml: experiments.x.inputs.question is missing, which dvc.yaml reads: add `question: none`\n"
        "params.yaml: experiments.x.inputs.video is missing, which dvc.yaml reads: add `video: none`\n"
        "params.yaml: experiments.x.inputs.fields is missing, which dvc.yaml reads: add `fields: none`"
    )
