"""The README's table is what the committed results say, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.results import EMPTY, END, HEADER, START, collect, filled, main, table
from stages.base.errors import InputError
from stages.base.store import SCHEMA_VERSION, write_json
from stages.params import load_params
from tests.support.small_data import PROJECT, write_params

METRICS = {
    "accuracy": 0.91234,
    "macro_f1": 0.9,
    "num_samples": 300,
    "baselines": {
        "shuffled_image": {"accuracy": 0.3, "macro_f1": 0.2},
        "only_image": {"accuracy": 0.4735, "macro_f1": 0.4},
        "majority": {"accuracy": 0.16, "macro_f1": 0.1},
    },
    "ceiling": {"accuracy": 0.95},
    "settings": {"headline": "accuracy", "split": "test"},
}
ROW = (
    "| scenes | classify | classify | accuracy | **0.912** "
    "| majority 0.160, only image 0.473, shuffled image 0.300 | 0.950 |"
)


def write_run(root: Path, experiment: str, metrics: dict[str, Any]) -> None:
    """Write what the stages leave of an experiment."""
    params = load_params(root / "params.yaml").experiments["classify"].model_dump()
    for stage, used, files in (("train", {"experiment": params}, {}), ("evaluate", {}, {"metrics.json": metrics})):
        folder = root / "artifacts" / stage / experiment
        folder.mkdir(parents=True)
        for name, value in files.items():
            write_json(folder / name, value)
        sizes = {name: {"bytes": (folder / name).stat().st_size} for name in files}
        write_json(folder / "manifest.json", {"schema_version": SCHEMA_VERSION, "params": used, "files": sizes})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_params(tmp_path / "params.yaml", {})
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "README.md").write_text(f"# Toy\n\n{START}\nold\n{END}\n\nThe end.\n", encoding="utf8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_holds_what_the_command_generates():
    readme = (PROJECT / "README.md").read_text(encoding="utf8")
    assert filled(readme, table(PROJECT)) == readme, "run `make results`"


def test_collected_metrics_become_a_row_of_the_readme(root: Path, capsys: pytest.CaptureFixture[str]):
    write_run(root, "classify", METRICS)
    assert main(["--collect", "scenes"]) == 0
    assert capsys.readouterr().out.splitlines() == ["wrote results/scenes/classify.json", "wrote README.md"]
    expected = "\n".join(["# Toy", "", START, *HEADER, ROW, END, "", "The end.", ""])
    assert (root / "README.md").read_text(encoding="utf8") == expected
    assert main([]) == 0
    assert (root / "README.md").read_text(encoding="utf8") == expected


def test_a_result_names_no_folder_of_this_machine(root: Path):
    write_run(root, "classify", METRICS)
    path = root / "artifacts" / "train" / "classify" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["params"]["experiment"]["head"] = {"model": "/models/smollm2", "prompt": "a / b"}
    write_json(path, manifest)
    (written,) = collect(root, "toy")
    head = json.loads(written.read_text())["params"]["experiment"]["head"]
    assert head == {"model": "smollm2", "prompt": "a / b"}


def test_a_result_keeps_the_metrics_and_the_params_that_made_it(root: Path):
    write_run(root, "classify", METRICS)
    (path,) = collect(root, "scenes")
    first = path.read_bytes()
    found = json.loads(first)
    assert found["metrics"] == METRICS
    assert found["params"]["experiment"]["fusion"] == "attention"
    assert collect(root, "scenes")[0].read_bytes() == first


def test_an_experiment_that_left_params_is_not_collected(root: Path):
    write_run(root, "classify", METRICS)
    write_run(root, "of_another_preset", METRICS)
    assert [path.name for path in collect(root, "scenes")] == ["classify.json"]


def test_rows_stand_by_name_and_a_missing_ceiling_or_baseline_is_shown_as_such(root: Path):
    write_run(root, "classify", METRICS)
    write_run(root, "vqa", METRICS | {"ceiling": {}, "baselines": {"odd": {"macro_f1": 0.2}}})
    collect(root, "b")
    collect(root, "a")
    lines = table(root).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| a", "classify"],
        ["| a", "vqa"],
        ["| b", "classify"],
        ["| b", "vqa"],
    ]
    assert lines[1].endswith("| **0.912** | - | - |")


def test_without_results_the_table_says_so(root: Path):
    assert table(root) == EMPTY
    assert main([]) == 0
    assert EMPTY in (root / "README.md").read_text(encoding="utf8")


def test_nothing_to_collect_is_told_and_the_readme_stays(root: Path, capsys: pytest.CaptureFixture[str]):
    before = (root / "README.md").read_bytes()
    assert main(["--collect", "scenes"]) == 1
    assert "no experiment of params.yaml was evaluated; run `make repro` first" in capsys.readouterr().out
    assert (root / "README.md").read_bytes() == before
    assert not (root / "results").exists()


@pytest.mark.parametrize("name", ["", "../up", "Scenes", "a/b"])
def test_a_name_that_is_no_folder_is_refused(root: Path, name: str):
    with pytest.raises(InputError, match="--collect: got"):
        collect(root, name)


@pytest.mark.parametrize("text", ["none", START, f"{END}{START}", f"{START}{START}{END}"])
def test_a_readme_without_its_markers_is_told(text: str):
    with pytest.raises(InputError, match="expected <!-- results --> and, after it"):
        filled(text, "table")
