"""A preset and the defaults make a whole params.yaml; what a person has edited is kept."""

import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.preset import DEFAULTS, OWN, composed, heading, main, preset_names
from stages.params import load_params

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the presets alone, as the current folder."""
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_params_are_those_of_the_preset_scenes():
    assert (PROJECT / "params.yaml").read_text() == composed(PROJECT, "scenes")


@pytest.mark.parametrize("name", preset_names(PROJECT))
def test_a_preset_makes_complete_params_with_all_its_values_and_comments(name: str, root: Path):
    assert main([name]) == 0
    load_params()
    written, preset = (YAML(typ="safe").load(path) for path in (root / "params.yaml", root / f"presets/{name}.yaml"))
    for section, values in preset.items():
        for key, value in values.items():
            found = written[section][key]
            if section in OWN:
                found = {k: v for k, v in found.items() if k in value}
                found |= (
                    {"inputs": {k: v for k, v in found["inputs"].items() if v != "none"}} if "inputs" in found else {}
                )
            assert found == value, f"{section}.{key}"
    text = (root / "params.yaml").read_text()
    for comment in re.findall(r"#.*", (root / f"presets/{name}.yaml").read_text()):
        assert comment in text
    assert heading(root, name) in text


@pytest.mark.parametrize("name", preset_names(PROJECT))
def test_a_preset_says_only_what_differs_and_how_it_is_run(name: str):
    yaml = YAML(typ="safe")
    defaults, preset = (yaml.load(PROJECT / f"presets/{file}.yaml") for file in (DEFAULTS, name))
    for section in preset.keys() - set(OWN):
        for key, value in preset[section].items():
            assert defaults[section][key] != value, f"presets/{name}.yaml: {section}.{key} is the default"
    assert f"make preset NAME={name} && make repro" in heading(PROJECT, name)
    assert "Expected:" in heading(PROJECT, name)


def test_what_is_written_is_said_in_a_line(root: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["easy_vqa"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("wrote params.yaml from presets/easy_vqa.yaml: datasets easy-vqa; features easy-vqa-image, ")
    assert "experiments vqa; other than the defaults: " in told and told.count("\n") == 1
    assert main(["easy_vqa"]) == 0
    assert capsys.readouterr().out == "params.yaml is that of presets/easy_vqa.yaml already\n"


def test_a_preset_takes_the_place_of_another_but_not_of_edits(root: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["scenes"]) == main(["easy_vqa"]) == main(["scenes"]) == 0
    path = root / "params.yaml"
    edited = path.read_text().replace("  epochs: 8\n", "  epochs: 9\n").replace("port: 8000", "port: 8001")
    path.write_text(edited)
    capsys.readouterr()
    assert main(["easy_vqa"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("error: params.yaml was edited, and is kept; with FORCE=1 this is lost:\n")
    changed = [line for line in told.splitlines() if re.match(r"[+-] ", line)]
    assert changed == ["-  epochs: 8", "+  epochs: 9", "-  port: 8000", "+  port: 8001"]
    assert path.read_text() == edited
    assert main(["easy_vqa", "--force"]) == 0
    assert path.read_text() == composed(root, "easy_vqa")


def test_a_file_from_elsewhere_is_kept_too(root: Path, capsys: pytest.CaptureFixture[str]):
    (root / "params.yaml").write_text("base: {seed: 8}\n")
    assert main(["scenes"]) == 1
    assert "+base: {seed: 8}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nothing"]])
def test_the_presets_are_listed_with_their_headings(
    root: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == len(arguments)
    told = capsys.readouterr().out
    assert ("there is no preset 'nothing'" in told) == bool(arguments)
    for name in preset_names(root):
        assert f"\n{name}\n" in f"\n{told}" and f"  Command:  make preset NAME={name} && make repro" in told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian: {epochs: 1}", "unknown section 'trian'; expected some of base, "),
        ("train: {epoch: 1}", "unknown key train.epoch; expected some of seed, epochs, "),
    ],
)
def test_a_mistake_in_a_preset_is_named(root: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]):
    with (root / "presets/easy_vqa.yaml").open("a") as file:
        file.write(f"\n{line}\n" if "trian" in line else "")
    if "trian" not in line:
        path = root / "presets/easy_vqa.yaml"
        path.write_text(re.sub(r"^train:\n", "train:\n  epoch: 1\n", path.read_text(), flags=re.M))
    assert main(["easy_vqa"]) == 1
    assert f"presets/easy_vqa.yaml: {message}" in capsys.readouterr().out
    assert not (root / "params.yaml").exists()
