"""The smallest params of each task in docs/tasks.md are whole: with a preset's data and the defaults, valid."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.preset import composed
from stages.base.errors import InputError
from stages.models.tasks import TASKS
from stages.params import Params, load_params

PROJECT = Path(__file__).parents[2]
DATA = "scenes_all"  # the preset whose data sets and features the document names
SECTION = re.compile(r"^## (\w+): (.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
yaml = YAML(typ="safe")


def documented() -> dict[str, str]:
    """Return the section of each task."""
    return dict(SECTION.findall((PROJECT / "docs/tasks.md").read_text(encoding="utf8")))


def smallest(task: str) -> dict[str, Any]:
    """Return the one experiment of a task's section."""
    (text,) = FENCE.findall(documented()[task])
    ((name, experiment),) = yaml.load(text)["experiments"].items()
    assert experiment["task"] == task
    return {name: experiment}


def params_of(experiment: dict[str, Any], root: Path) -> Params:
    """Return the params of the preset with one experiment in the place of its own."""
    preset = yaml.load(PROJECT / f"presets/{DATA}.yaml") | {"experiments": experiment}
    (root / "presets").mkdir()
    (root / "presets/defaults.yaml").write_text((PROJECT / "presets/defaults.yaml").read_text())
    yaml.dump(preset, root / f"presets/{DATA}.yaml")
    (root / "params.yaml").write_text(composed(root, DATA))
    return load_params(root / "params.yaml")


def test_every_task_has_its_section_in_one_form():
    sections = documented()
    assert sections.keys() == TASKS.keys()
    for task, text in sections.items():
        places = [text.index(part) for part in ("**In**", "```yaml", "**Out**", "**Judged by**")]
        assert places == sorted(places), task


@pytest.mark.parametrize("task", TASKS)
def test_the_smallest_params_are_valid(task, tmp_path):
    found = params_of(smallest(task), tmp_path)
    assert [experiment.task for experiment in found.experiments.values()] == [task]


@pytest.mark.parametrize("task", TASKS)
def test_without_its_inputs_or_its_task_they_are_not(task, tmp_path):
    ((name, experiment),) = smallest(task).items()
    with pytest.raises(InputError, match=name):
        params_of({name: experiment | {"inputs": {"image": "nothing"}}}, tmp_path)


def test_the_preset_of_every_task_has_every_task():
    tasks = {experiment["task"] for experiment in yaml.load(PROJECT / f"presets/{DATA}.yaml")["experiments"].values()}
    assert tasks == TASKS.keys()
