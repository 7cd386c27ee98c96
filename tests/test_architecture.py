"""The house keeps its shape: names, arrows, and what DVC is told against what the code imports."""

import ast
import shutil
from functools import cache
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.params import NONE, Encoders, Inputs, Params, load_params

ROOT = Path(__file__).parent.parent
ORDER = ["download", "prepare", "features", "train", "evaluate", "register"]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's own
PARAMS_FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
VARIANTS = ["sources", "extractors", "encoders", "fusions", "heads", "tasks", "metrics"]


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


def test_serve_is_named_like_a_stage_but_is_none_of_the_graph():
    assert (ROOT / "stages/serve.py").exists() and (ROOT / "tests/test_serve.py").exists()
    assert "serve" in Params.model_fields and "serve" not in dvc_stages()
    stages = {ROOT / f"stages/{stage}.py" for stage in ORDER}
    assert not closure(ROOT / "stages/serve.py") & stages


def outs(definition: dict) -> list[str]:
    entries = [*definition.get("outs", []), *definition.get("metrics", []), *definition.get("plots", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_dvc_has_the_stages_in_order_after_what_none_stands_for():
    nothing, *others = dvc_stages()
    assert others == ORDER
    assert nothing == "nothing" and outs(dvc_stages()[nothing]) == [f"data/{NONE}", f"artifacts/features/{NONE}"]


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_every_slot_of_an_experiment_is_told_to_dvc(stage):
    deps = dvc_stages()[stage]["do"]["deps"]
    wanted = [f"artifacts/features/${{item.inputs.{slot}}}" for slot in Inputs.model_fields]
    assert wanted == [dep for dep in deps if dep.startswith("artifacts/features/")]
    assert list(Inputs.model_fields) == list(Encoders.model_fields)


@pytest.mark.parametrize("path", PARAMS_FILES, ids=lambda p: p.name)
def test_dvc_makes_a_stage_of_every_name_in_a_params_file(path, graph_project):
    shutil.copyfile(path, graph_project / "params.yaml")
    params = load_params(path)
    with Repo(graph_project) as repo:
        repo.index.check_graph()
        found = sorted(stage.addressing for stage in repo.index.stages)
    sections = {"datasets": params.datasets, "features": params.features, "experiments": params.experiments}
    keyed = {"download": "datasets", "prepare": "datasets", "features": "features"}
    wanted = [f"{stage}@{name}" for stage in ORDER for name in sections[keyed.get(stage, "experiments")]]
    assert found == sorted(["nothing", *wanted])


def test_what_none_stands_for_is_made_by_a_real_run_and_stays(graph_project):
    shutil.copyfile(ROOT / "params.yaml", graph_project / "params.yaml")
    with Repo(graph_project) as repo:
        assert [stage.addressing for stage in repo.reproduce("nothing")] == ["nothing"]
        assert repo.reproduce("nothing") == []
    for place in (f"data/{NONE}", f"artifacts/features/{NONE}"):
        assert (graph_project / place).read_text() == "none\n"


@pytest.fixture
def graph_project(tmp_path, monkeypatch):
    """A DVC project with the graph alone, as the current folder."""
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    return tmp_path


@pytest.mark.parametrize("stage", ORDER)
def test_dvc_is_told_every_module_that_a_stage_imports_and_no_other(stage):
    declared = {dep for dep in dvc_stages()[stage]["do"]["deps"] if dep.startswith("stages/")}
    entries = [stage, *(["served_model", "rescore"] if stage == "register" else [])]  # they travel with a version
    wanted = {p.relative_to(ROOT).as_posix() for entry in entries for p in closure(ROOT / f"stages/{entry}.py")}
    if "stages/reports/samples_page.py" in wanted:
        wanted.add("stages/reports/templates/samples.html")
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


@pytest.mark.parametrize("path", PARAMS_FILES, ids=lambda p: p.name)
def test_params_files_are_complete(path):
    load_params(path)
