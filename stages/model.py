"""A trained model on disk: `model.json`, `model.safetensors` and the extractors of its inputs."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from stages.device import Device
from stages.params import ExperimentParams
from stages.store import write_json
from stages.tasks import TASKS, Task
from stages.tasks.base import ModelConfig

MODEL, WEIGHTS = "model.json", "model.safetensors"
EXTRACTOR_FILES = ("extractor.json", "extractor.safetensors")


def build(config: ModelConfig) -> Task:
    """Make an untrained task."""
    return TASKS[config.experiment.task](config)


def save_model(folder: Path, config: ModelConfig, weights: dict[str, Tensor], feature_folders: dict[str, Path]) -> None:
    """Write the model, and beside it what turns raw media into its features."""
    write_json(
        folder / MODEL,
        {
            "experiment": config.experiment.model_dump(exclude={"train"}),
            "feature_shapes": config.feature_shapes,
            "vocabulary": config.vocabulary,
        },
    )
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / WEIGHTS)
    for modality, source in feature_folders.items():
        (folder / modality).mkdir()
        for name in EXTRACTOR_FILES:
            if (source / name).exists():
                shutil.copyfile(source / name, folder / modality / name)


def load_config(folder: Path) -> ModelConfig:
    """Read a model's configuration."""
    raw: dict[str, Any] = json.loads((folder / MODEL).read_text(encoding="utf8"))
    shapes = {modality: tuple(shape) for modality, shape in raw["feature_shapes"].items()}
    return ModelConfig(ExperimentParams(**raw["experiment"], train={}), shapes, raw["vocabulary"])


def load_model(folder: Path, device: Device) -> Task:
    """Read a model, ready to predict."""
    task = build(load_config(folder))
    task.load_state_dict(load_file(folder / WEIGHTS))
    return task.to(device.device).eval()
