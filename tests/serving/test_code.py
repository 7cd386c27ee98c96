"""A version answers by its own code: several in one process, from before there were rooms and after."""

from pathlib import Path

import pytest

from stages.registry.comparison import RESCORERS
from stages.serving.code import import_code, module, open_model

SETTINGS = {
    "base": {"threads": 3},
    "evaluate": {"beam_size": 2},
    "max_image_megapixels": 4.0,
    "max_audio_seconds": 5.0,
}
PARAMS = "class BaseParams(dict): pass\nclass EvaluateParams(dict): pass\n"
FLAT = {  # as versions were written before there were rooms
    "params/__init__.py": PARAMS,
    "device.py": "from stages.params import BaseParams\ndef set_up(base):\n    return 'cpu', base['threads']\n",
    "errors.py": "class InputError(ValueError): pass\n",
    "predictor.py": (
        "from stages.errors import InputError\n"
        "def PredictSettings(evaluate, **limits):\n"
        "    return {'evaluate': dict(evaluate), **limits}\n"
        "class Predictor:\n"
        "    @classmethod\n"
        "    def load(cls, folder, settings, device):\n"
        "        return ['flat', folder, settings, device]\n"
    ),
}
ROOMS = {
    "params/__init__.py": PARAMS,
    "base/__init__.py": "",
    "base/errors.py": "class InputError(ValueError): pass\n",
    "packaging/__init__.py": "",
    "packaging/predictor.py": (
        "from stages.base.errors import InputError\n"
        "def open_model(folder, settings):\n"
        "    return ['rooms', folder, settings]\n"
    ),
}


def package(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__.py": "", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_version_from_before_there_were_rooms_is_opened_beside_one_with_rooms(tmp_path):
    old = import_code(package(tmp_path / "old", FLAT))
    new = import_code(package(tmp_path / "new", ROOMS))
    evaluate, limits = {"beam_size": 2}, {"max_image_megapixels": 4.0, "max_audio_seconds": 5.0}
    kind, folder, settings, device = open_model(old, tmp_path, SETTINGS)
    assert (kind, folder, device) == ("flat", tmp_path, ("cpu", 3))
    assert settings == {"evaluate": evaluate, **limits}
    assert open_model(new, tmp_path, SETTINGS) == ["rooms", tmp_path, SETTINGS]
    errors = [module(code, "base", "errors").InputError for code in (old, new)]
    assert errors[0] is not errors[1]


def test_equal_code_is_imported_once_and_imports_itself_alone(tmp_path):
    first, again = (import_code(package(tmp_path / name, ROOMS)) for name in ("first", "again"))
    assert first is again
    errors = module(first, "packaging", "predictor").InputError
    assert errors is module(first, "base", "errors").InputError
    assert errors.__module__.startswith(first.__name__)


@pytest.mark.parametrize("name", RESCORERS[:1])
def test_the_first_rescorer_is_the_one_of_this_code(name):
    assert (Path(__file__).parents[2] / f"{name.replace('.', '/')}.py").exists()
