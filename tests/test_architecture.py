"""The house keeps its shape: names, arrows, and what DVC is told against what the code imports."""

import ast
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.params import Params, load_params

ROOT = Path(__file__).parent.parent
ORDER = ["download", "prepare", "features", "train", "evaluate", "register"]
VARIANTS = ["sources", "extractors", "encoders", "heads", "tasks", "metrics"]


@cache
def imports(path: Path) -> frozenset[Path]:
    """Return the project files that a file imports anywhere, packages by their `__init__`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "stages":
                base = ROOT.joinpath(*name.split("."))
                found |= {p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()}
    return frozenset(found)


@cache
def closure(path: Path) -> frozenset[Path]:
    """Return all project files that running a file can import, itself included."""
    seen, waiting = {path}, [path]
    while waiting:
        for found in imports(waiting.pop()) - seen:
            seen.add(found)
            waiting.append(found)
            package = found.parent / "__init__.py"
            if package not in seen and package.exists() and found.parent != ROOT / "stages":
                seen.add(package)
                waiting.append(package)
    return frozenset(seen - {ROOT / "stages/__init__.py"})


def dvc_stages() -> dict:
    return YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf8"))["stages"]


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_has_one_name_everywhere(stage):
    assert (ROOT / f"stages/{stage}.py").exists()
    assert (ROOT / f"tests/test_{stage}.py").exists()
    definition = dvc_stages()[stage]["do"]
    assert definition["cmd"] == f"python -m stages.{stage} ${{key}}"
    assert all(str(out).startswith(f"artifacts/{stage}/${{key}}") for out in outs(definition))
    sections = {field.alias or name for name, field in Params.model_fields.items()}
    assert stage in sections


def outs(definition: dict) -> list[str]:
    entries = [*definition.get("outs", []), *definition.get("metrics", []), *definition.get("plots", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_dvc_has_the_stages_in_order():
    assert list(dvc_stages()) == ORDER


@pytest.mark.parametrize("stage", ORDER)
def test_dvc_is_told_every_module_that_a_stage_imports_and_no_other(stage):
    declared = {dep for dep in dvc_stages()[stage]["do"]["deps"] if not dep.startswith("artifacts/")}
    entries = [stage, *(["served_model"] if stage == "register" else [])]  # what travels with a version
    wanted = {p.relative_to(ROOT).as_posix() for entry in entries for p in closure(ROOT / f"stages/{entry}.py")}
    if "stages/samples_page.py" in wanted:
        wanted.add("stages/templates/samples.html")
    covered = set()
    for dep in declared:
        path = ROOT / dep
        assert path.exists(), f"dvc.yaml: {stage}: {dep} does not exist"
        covered |= {p.relative_to(ROOT).as_posix() for p in path.rglob("*.py")} if path.is_dir() else {dep}
    assert wanted - covered == set(), f"dvc.yaml: {stage} lacks deps"
    assert covered - wanted == set(), f"dvc.yaml: {stage} has deps that it does not import"


def test_variants_import_no_stage():
    stages = {ROOT / f"stages/{stage}.py" for stage in ORDER}
    for folder in VARIANTS:
        for path in (ROOT / "stages" / folder).rglob("*.py"):
            assert not closure(path) & stages, f"{path.relative_to(ROOT)} imports a stage"


def test_arrows_between_stages_point_one_way():
    for place, stage in enumerate(ORDER):
        later = {ROOT / f"stages/{name}.py" for name in ORDER[place + 1 :]}
        assert not closure(ROOT / f"stages/{stage}.py") & later


def test_a_stage_reads_the_artifact_of_another_never_its_code():
    for stage in ORDER:
        others = {ROOT / f"stages/{name}.py" for name in ORDER if name != stage}
        assert not closure(ROOT / f"stages/{stage}.py") & others


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))], ids=lambda p: p.name
)
def test_params_files_are_complete(path):
    load_params(path)
