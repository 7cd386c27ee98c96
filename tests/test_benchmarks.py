"""Every benchmark runs on small data, names its machine, and checks that what it compares is the same work."""

import re

import pytest
import torch
import torchvision

from benchmarks import beam_search, features, generation, gpu, search, training
from stages import features as features_stage
from stages import train
from stages.base.errors import InputError
from tests.conftest import SMALL
from tests.support.small_data import make_params

GRID = "scenes-grid"


@pytest.fixture
def grid_project(project):
    """A small project whose model reads the grid of a torchvision backbone with random weights."""
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model("squeezenet1_1").state_dict(), project / "weights.pth")
    section = {
        "dataset": "scenes",
        "modality": "image",
        "extractor": "torchvision",
        "size_px": 64,
        "batch_size": 16,
        "backbone": "squeezenet1_1",
        "weights": "weights.pth",
        "weights_sha256": "",
        "layer": "grid",
    }
    changes = {
        "base.precision": "float32",
        f"features.{GRID}": section,
        "experiments.caption.inputs.image": GRID,
        "experiments.caption.encoders.image": "projection",
        "train.epochs": 1,
    }
    params = make_params(project, SMALL | changes)
    features_stage.run(params, GRID)
    train.run(params, "caption")
    return project


def shown_rows(output: str) -> dict[str, list[float]]:
    """Return the figures of each printed table row, by contender."""
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in output.splitlines() if "│" in line]
    return {name: [float(figure) for figure in figures] for name, *figures in rows}


def test_features_compares_four_ways_to_the_same_features(grid_project, capsys):
    features.command([GRID, "--images", "40", "--rounds", "1"])
    output = capsys.readouterr().out
    rows = shown_rows(output)
    assert list(rows) == ["features", "bare forward", "plain loop", "1 % new"]
    assert rows["features"][1:] == [1.0, 1.0, 1.0]
    assert all(figure > 0 for figures in rows.values() for figure in figures)
    assert re.search(r"machine .* CPUs", output) and "torch" in output
    difference = re.search(r"plain loop`: ([0-9.]+)", output)
    assert difference is not None and float(difference[1]) < 0.05


def test_training_compares_with_the_encoder_in_the_loop(grid_project, capsys):
    training.command(["caption", "--steps", "2", "--rounds", "1"])
    output = capsys.readouterr().out
    assert list(shown_rows(output)) == ["cached features", "encoder in the loop"]
    assert float(output.rsplit(":", 1)[1]) < 0.05
    with pytest.raises(InputError, match="caption has no input audio; it has image: say which by --modality"):
        training.command(["caption", "--modality", "audio"])


@pytest.mark.parametrize("head", ["gru", "transformer"])
def test_beam_search_and_its_baseline_find_the_same_captions(project, capsys, head):
    train.run(make_params(project, SMALL | {"experiments.caption.head": head, "train.epochs": 2}), "caption")
    beam_search.command(["caption", "--images", "10", "--rounds", "1"])
    output = capsys.readouterr().out
    assert list(shown_rows(output)) == ["beam search", "one image, no cache"]
    assert "equal captions: 10 of 10" in output
    generation.command(["caption", "--images", "10", "--rounds", "1"])
    assert capsys.readouterr().out.count("10 of 10") == 6


@pytest.mark.parametrize(
    ("benchmark", "name", "message"),
    [
        (features, "scenes-image", "is no feature with extractor torchvision"),
        (training, "captions", "experiments has no 'captions'"),
        (beam_search, "captions", "experiments has no 'captions'"),
        (beam_search, "classify", "classify is no captioning experiment"),
    ],
)
def test_a_wrong_name_is_told(project, benchmark, name, message):
    with pytest.raises(InputError, match=message):
        benchmark.command([name])


def test_search_compares_an_index_with_exact_search(capsys):
    search.command(["--items", "3000", "--width", "16", "--rounds", "1"])
    output = capsys.readouterr().out
    assert list(shown_rows(output)) == ["index", "exact by blocks"] and output.count("exact by blocks") == 2
    recall = re.search(r"recall@10 ([0-9.]+) of exact", output)
    assert recall is not None and float(recall[1]) > 0.9
    assert re.search(r"built +in [0-9]+ MB at the peak", output) and "index 0 MB" in output


def test_the_gpu_s_questions_are_asked_of_a_cpu_too(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "BATCH", 8)
    monkeypatch.setattr(gpu, "SIZE_PX", 64)
    gpu.command(["--device", "cpu", "--rounds", "1", "--skip-runs"])
    output = capsys.readouterr().out
    assert output.count("True") == 6
    assert re.search(r"bare forward\s+│", output)
