"""The fusion bench over a real DVC and git, with toy stages; its report on hand-made cells."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.bench.cells import TRAIN_COST, make_bench
from flows.bench.report import Result, ordered, table, write_report
from flows.graph.checkout import cloned, snapshot
from flows.graph.dvc_stages import StageError
from stages import train
from stages.base.errors import InputError
from stages.params import load_params, variant_names
from tests.conftest import SMALL, is_alive
from tests.support.small_data import make_params, write_params
from tests.support.toy_project import git, make_toy, start_flow

FUSED: dict[str, object] = {  # an encoder of the question, so that there is something to fuse with
    "experiments.vqa.head": "none",
    "experiments.vqa.encoders": {"image": "cnn", "question": "gru"},
}

TOY_STAGES = """
stages:
  nothing:
    cmd: mkdir -p artifacts/features/none
    outs: [artifacts/features/none]
  features:
    foreach: ${features}
    do:
      cmd: python work.py features ${key}
      outs: ["artifacts/features/${key}"]
  train:
    foreach: ${experiments}
    do:
      cmd: python work.py train ${key}
      params: ["experiments.${key}", train]
      deps:
        - work.py
        - artifacts/features/${item.inputs.image}
        - artifacts/features/${item.inputs.question}
      outs: ["artifacts/train/${key}"]
  evaluate:
    foreach: ${experiments}
    do:
      cmd: python work.py evaluate ${key}
      deps: ["artifacts/train/${key}"]
      metrics: ["artifacts/evaluate/${key}/metrics.json"]
"""

TOY_WORK = """
import json, os, pathlib, sys, time
from ruamel.yaml import YAML

stage, name = sys.argv[1:]
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
folder = pathlib.Path("artifacts", stage, name)
folder.mkdir(parents=True, exist_ok=True)
seed, call = params["train"]["seed"], f"{stage} {name}"
if stage == "train":
    experiment = params["experiments"][name]
    row = experiment["fusion"] if experiment["inputs"]["image"] != "none" else "only_question"
    call += f" {row} {seed}"
with open(os.environ["TOY_CALLS"], "a") as calls:
    calls.write(call + "\\n")
if stage == "features":
    (folder / "out.txt").write_text(name)
if stage == "train":
    if os.environ.get("TOY_SLEEP") == f"{row} {seed}":
        pathlib.Path(os.environ["TOY_CALLS"] + ".asleep").touch()
        time.sleep(600)
    if os.environ.get("TOY_FAIL") == f"{row} {seed}":
        sys.exit("the toy is broken")
    score = {"concat": 0.5, "late": 0.7, "only_question": 0.6}[row] + seed / 100
    known = {"counts": {"parameters": 1000 + len(row)}, "settings": {"train_key": f"{row} {seed}"}, "score": score}
    (folder / "manifest.json").write_text(json.dumps(known))
    print(f"train {name}: fitted in {seed}.5 s, {len(row)} MB at the peak")
if stage == "evaluate":
    score = json.loads(pathlib.Path("artifacts/train", name, "manifest.json").read_text())["score"]
    (folder / "metrics.json").write_text(json.dumps({"accuracy": score, "settings": {"headline": "accuracy"}}))
"""


@pytest.fixture(scope="module")
def committed_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory, FUSED | {"train.seed": 7}, TOY_STAGES, TOY_WORK)


@pytest.fixture
def toy(committed_toy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(committed_toy, tmp_path / "toy"))


def start(toy: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return start_flow(toy, "fusion_bench", *arguments, **environment)


def test_a_bench_that_was_broken_off_goes_on_and_leaves_the_project_alone(toy: Path):
    (toy / "params.yaml").write_text((toy / "params.yaml").read_text() + "# not committed\n")
    before = {path: path.read_bytes() for path in (toy / "params.yaml", toy / "dvc.yaml", toy / ".git/index")}
    arguments = ("vqa", "--fusions", "late", "--seeds", "2")
    process = start(toy, *arguments, TOY_SLEEP="late 2")
    while not (toy / "calls.txt.asleep").exists() and process.poll() is None:
        time.sleep(0.05)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, rest
    assert "the same command goes on" in rest and "Traceback" not in rest
    assert len(children) >= 2 and not [pid for pid in children if is_alive(pid)]
    assert not (toy / ".fuseline/fusion_bench/vqa").exists()

    process = start(toy, *arguments)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert {path: path.read_bytes() for path in before} == before
    assert git(toy, "stash", "list") == ""
    assert not (toy / "artifacts/train").exists()
    ran = (toy / "calls.txt").read_text().splitlines()
    assert sorted(call for call in ran if call.startswith("features")) == [
        "features scenes-image",
        "features scenes-question",
    ]
    first, second = ([f"train vqa {row} {seed}" for row in ("late", "only_question")] for seed in (1, 2))
    assert [call for call in ran if call.startswith("train")] == [*first, "train vqa late 2", *second]
    refs = git(toy, "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").splitlines()
    assert refs == sorted(f"vqa-{row}-seed{seed}" for seed in (1, 2) for row in ("late", "only_question"))
    with (toy / "artifacts/fusion_bench/vqa/runs.csv").open(newline="") as file:
        rows = {(row["row"], row["seed"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    assert rows["only_question", "2"] == {
        "row": "only_question",
        "is_fusion": "False",
        "seed": "2",
        "metric": "accuracy",
        "score": "0.62",
        "parameters": "1013",
        "train_seconds": "2.5",
        "peak_mb": "13.0",
    }
    assert rows["late", "1"]["train_seconds"] == "1.5"
    assert "On average every fusion beats the best single modality (only question, 0.6150)." in output
    assert (toy / "artifacts/fusion_bench/vqa/fusion_bench.png").stat().st_size > 1000


def test_a_failing_cell_is_named_with_its_last_lines(toy: Path):
    process = start(toy, "vqa", "--fusions", "late", "--seeds", "1", "--out", "found", TOY_FAIL="late 1")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "train@vqa failed: exit code 1" in output
    assert output.rstrip().endswith("the toy is broken")
    assert "Traceback" not in output
    assert (toy / "found").is_dir() and not (toy / "artifacts/fusion_bench").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["words"], "experiments has no 'words'; expected one of caption, "),
        (["vqa", "--fusions", "late,mean"], "--fusions: mean; expected some of concat, "),
        (["vqa", "--seeds", "0"], "--seeds: got 0; expected 1 or more"),
        (["caption"], "experiments.caption: one modality with an encoder, so there is nothing to fuse"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(committed_toy: Path, arguments: list[str], message: str):
    process = start(committed_toy, *arguments)
    output, _ = process.communicate()
    assert (process.returncode, "Traceback" in output) == (1, False)
    assert message in output
    assert not (committed_toy / "calls.txt").exists()


def changes(params_folder: Path, name: str, edits: dict[str, object] | None = None) -> dict[str, tuple[str, ...]]:
    bench = make_bench(make_params(params_folder, FUSED | (edits or {})), name, ["late"], 1)
    return {row.name: row.changes for row in bench.rows}


def test_each_modality_is_trained_alone_by_leaving_out_the_others(tmp_path: Path):
    assert changes(tmp_path, "classify") == {
        "late": ("experiments.classify.fusion=late",),
        "only_image": ("experiments.classify.inputs.audio=none", "experiments.classify.inputs.text=none"),
        "only_audio": ("experiments.classify.inputs.image=none", "experiments.classify.inputs.text=none"),
        "only_text": ("experiments.classify.inputs.image=none", "experiments.classify.inputs.audio=none"),
    }


def test_a_modality_that_the_task_needs_is_never_left_out(tmp_path: Path):
    assert list(changes(tmp_path, "vqa")) == ["late", "only_question"]
    sound = {"experiments.retrieve.inputs.audio": "scenes-audio", "experiments.retrieve.encoders.audio": "cnn"}
    assert changes(tmp_path, "retrieve", sound) == {
        "late": ("experiments.retrieve.fusion=late",),
        "only_image": ("experiments.retrieve.inputs.audio=none",),
        "only_audio": ("experiments.retrieve.inputs.image=none",),
    }


def test_a_row_that_has_nothing_in_common_with_its_start_starts_from_nothing(tmp_path: Path):
    dim = {"experiments.classify.dim": 128, "experiments.classify.init": "caption"}
    alone = {name: row for name, row in changes(tmp_path, "classify", dim).items() if name.startswith("only_")}
    assert [name for name, row in alone.items() if "experiments.classify.init=none" in row] == [
        "only_audio",
        "only_text",
    ]
    edits = {"experiments.vqa.init": "retrieve", "experiments.retrieve.inputs.audio": "scenes-audio"}
    edits |= {"experiments.retrieve.encoders.audio": "cnn"}
    row = changes(tmp_path, "retrieve", edits)["only_audio"]
    write_params(tmp_path / "params.yaml", FUSED | edits | dict(change.split("=") for change in row))
    assert load_params(tmp_path / "params.yaml").experiments["vqa"].init == "none"


def test_every_row_is_a_params_file_that_the_stages_accept(tmp_path: Path):
    for name in ("classify", "vqa"):
        for row in make_bench(make_params(tmp_path, FUSED), name, [], 1).rows:
            edits = FUSED | dict(change.split("=") for change in row.changes)
            load_params(write_params(tmp_path / "params.yaml", edits))


def test_a_question_that_a_head_reads_has_no_encoder_to_be_alone_with(tmp_path: Path):
    with pytest.raises(InputError, match="^experiments.vqa: one modality with an encoder, so there is nothing to fuse"):
        changes(tmp_path, "vqa", {"experiments.vqa.head": "gru"})
    sound = {"experiments.vqa.inputs.audio": "scenes-audio", "experiments.vqa.encoders.audio": "cnn"}
    assert list(changes(tmp_path, "vqa", sound | {"experiments.vqa.head": "gru"})) == ["late"]
    assert list(changes(tmp_path, "vqa", sound)) == ["late", "only_question"]


def test_all_fusions_and_the_experiments_own_seed_are_the_defaults(tmp_path: Path):
    bench = make_bench(make_params(tmp_path, FUSED | {"experiments.vqa.train.seed": 3}), "vqa", [], 3)
    assert [row.name for row in bench.rows if row.is_fusion] == list(variant_names("models/fusions"))
    assert (bench.seeds, bench.seed_key) == ((1, 2, 3), "experiments.vqa.train.seed")
    assert make_bench(make_params(tmp_path, FUSED), "vqa", [], 1).seed_key == "train.seed"


def test_the_snapshot_has_what_is_not_committed_and_changes_nothing(toy: Path):
    head = git(toy, "rev-parse", "HEAD")
    assert snapshot(toy) == head
    (toy / "stages").mkdir()
    (toy / "stages/new.py").write_text("new")
    (toy / "work.py").write_text("changed")
    (toy / "notes.txt").write_text("not for the bench")
    before = git(toy, "status", "--porcelain")
    commit = snapshot(toy)
    assert snapshot(toy) == commit != head
    assert git(toy, "show", f"{commit}:stages/new.py") == "new"
    assert git(toy, "show", f"{commit}:work.py") == "changed"
    assert "notes.txt" not in git(toy, "ls-tree", "--name-only", commit)
    assert (git(toy, "status", "--porcelain"), git(toy, "rev-parse", "HEAD")) == (before, head)


def test_without_a_commit_git_says_so(tmp_path: Path):
    with pytest.raises(StageError, match="git failed: git read-tree HEAD"):
        snapshot(tmp_path)


def test_the_clone_reads_the_users_own_data_and_goes_away(toy: Path):
    (toy / "data/photos").mkdir(parents=True)
    (toy / "data/photos/one.txt").write_text("here")
    with cloned(toy, snapshot(toy), toy / ".fuseline/fusion_bench/vqa", ["photos"]) as clone:
        assert (clone / "data/photos/one.txt").read_text() == "here"
        cache = subprocess.run(
            [sys.executable, "-m", "dvc", "cache", "dir"], cwd=clone, capture_output=True, text=True, check=True
        )
        assert Path(cache.stdout.strip()) == toy / ".dvc/cache"
    assert not clone.exists()
    assert (toy / "data/photos/one.txt").read_text() == "here"


def test_the_train_stage_prints_its_cost(project: Path, capsys: pytest.CaptureFixture[str]):
    train.run(make_params(project, SMALL | {"train.epochs": 1}), "caption")
    (found,) = [match for line in capsys.readouterr().out.splitlines() if (match := TRAIN_COST.match(line))]
    assert 0 < float(found[1]) < 600
    assert 100 < int(found[2]) < 16_000


def cells(row: str, is_fusion: bool, scores: list[float], costs: list[float | None] | None = None) -> list[Result]:
    known = costs or [10.0] * len(scores)
    return [
        Result(row, is_fusion, seed, "accuracy", score, 12_345, seconds, seconds)
        for seed, (score, seconds) in enumerate(zip(scores, known, strict=True), start=1)
    ]


SOME = [
    *cells("concat", True, [0.5, 0.6]),
    *cells("only_text", False, [0.6, 0.6]),
    *cells("low_rank_tensor", True, [0.8, 0.6], [4.0, None]),
    *cells("only_image", False, [0.2, 0.4], [None, None]),
]


def test_the_table_shows_means_and_names_the_fusions_that_lose():
    rows = ordered(SOME)
    assert list(rows) == ["low_rank_tensor", "concat", "only_text", "only_image"]
    lines = table("classify", "late", rows).splitlines()
    assert lines[-6:] == [
        "| low rank tensor | 0.7000 ± 0.1414 | 12,345 | 4 | 4 |",
        "| concat | 0.5500 ± 0.0707 | 12,345 | 10 | 10 |",
        "| only text | 0.6000 ± 0.0000 | 12,345 | 10 | 10 |",
        "| only image | 0.3000 ± 0.1414 | 12,345 | - | - |",
        "",
        "On average these fusions do not beat the best single modality (only text, 0.6000): concat.",
    ]


def test_a_fusion_as_good_as_a_single_modality_does_not_beat_it():
    assert table("a", "late", ordered(cells("conv", True, [0.6]) + SOME[2:4])).endswith(": conv.\n")


def test_the_last_line_fits_when_all_fusions_win_and_when_none_could_lose():
    best = cells("conv", True, [0.9])
    assert table("a", "late", ordered(best + SOME[2:4])).endswith(
        "every fusion beats the best single modality (only text, 0.6000).\n"
    )
    assert table("a", "late", ordered(best)).endswith("so there is none to beat.\n")


def test_the_same_cells_give_the_same_files(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, "classify", "late", SOME)
    names = ["fusion_bench.png", "runs.csv", "table.md"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
