"""The key of a training changes with what decides its weights, and with nothing else."""

import shutil

import pytest

from stages.base.store import write_json
from stages.training import key
from stages.training.key import imported_files, training_key


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the code, which the key is made of, beside two artifacts."""
    folder = shutil.copytree(key.STAGES, tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(key, "STAGES", folder)
    monkeypatch.setattr(key, "ENTRY", folder / "train.py")
    monkeypatch.chdir(tmp_path)
    for artifact in ("prepare/scenes", "features/scenes-image"):
        (tmp_path / "artifacts" / artifact).mkdir(parents=True)
        write_json(tmp_path / "artifacts" / artifact / "manifest.json", {"schema_version": 1, "files": {}})
    return folder


def the_key(epochs: int = 1) -> str:
    return training_key({"train": {"epochs": epochs}}, "scenes", {"image": "scenes-image"})


def test_training_imports_the_rooms_that_it_needs_and_no_other():
    found = imported_files(key.ENTRY)
    rooms = {path.relative_to(key.STAGES).parts[0] for path in found}
    assert rooms == {"train.py", "base", "media", "models", "params", "pretrained", "training"}
    assert {path.name for path in found if path.parent.name == "media"} == {
        "__init__.py",
        "columns.py",
        "text.py",
    }


@pytest.mark.parametrize(
    ("file", "is_other"),
    [
        ("train.py", True),
        ("training/module.py", True),
        ("models/fusions/graph.py", True),
        ("params/section.py", True),
        ("media/text.py", True),
        ("media/images.py", False),
        ("registry/gate.py", False),
        ("serving/app.py", False),
        ("reports/figures.py", False),
        ("sources/scenes/world.py", False),
        ("extractors/pixels.py", False),
        ("prepare.py", False),
    ],
)
def test_an_edit_changes_the_key_where_training_imports_the_file(code, file, is_other):
    before = the_key()
    assert the_key() == before
    with (code / file).open("a") as source:
        source.write("# a comment\n")
    assert (the_key() != before) == is_other


def test_params_and_inputs_change_the_key(code):
    before = the_key()
    assert the_key(epochs=2) != before
    manifest = code.parent / "artifacts/features/scenes-image/manifest.json"
    write_json(manifest, {"schema_version": 1, "files": {}, "counts": {"rows": 1}})
    assert the_key() != before
