"""The house keeps its shape: names, arrows, and what DVC is told against what the code imports."""

import ast
import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.preset import composed, preset_names
from stages.params import NONE, Encoders, Inputs, Params, load_params
from stages.training.key import imported_files

ROOT = Path(__file__).parent.parent
STAGES, FLOWS = ROOT / "stages", ROOT / "flows"
ORDER = ["download", "prepare", "features", "train", "evaluate", "register"]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's own
MODEL_PARTS = ("encoders", "fusions", "heads", "tasks", "metrics")
VARIANTS = ["sources", "extractors", *(f"models/{part}" for part in MODEL_PARTS)]
LAYERS = [  # of `stages/`: an import may only go down, to a room that stands further up here
    {"base"},
    {"params", "raw", "media", "pretrained"},
    {"sources", "extractors", "cache", "models"},
    {"samples", "training", "reports", "registry"},
    {"packaging", "serving"},
]
FLOW_LAYERS = [{"graph"}, {"retraining", "rebuilding", "bench", "searching"}]
OPEN_TO_FLOWS = {"base", "params", "raw", "registry"}  # rooms of `stages/` that flows may import
MOST_FILES, MOST_ENTRIES, MOST_DEPS = 13, 23, 67
NOTHINGS = [f"data/{NONE}", f"artifacts/features/{NONE}", f"artifacts/train/{NONE}"]
GROUND = "stages/base"  # every stage stands on it, so each names it whole
TRAVELLING = ["packaging/served_model", "packaging/rescore"]  # with every version that `register` logs


def modules(top: Path) -> list[Path]:
    return sorted(top.rglob("*.py"))


def imported(path: Path) -> set[tuple[str, str]]:
    """Return (top package, room or module below it) of all that a file imports of the project, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    return {(found[0], found[1]) for found in parts if found[0] in ("stages", "flows") and len(found) > 1}


def room_of(path: Path, top: Path) -> str:
    """Return the room that a file lies in; the file's own name where it is a door."""
    return path.relative_to(top).parts[0].removesuffix(".py")


def rank(room: str, layers: list[set[str]]) -> int:
    """Return how high a room stands; doors stand on top."""
    return next((i for i, layer in enumerate(layers) if room in layer), len(layers))


def doors(top: Path) -> set[str]:
    return {path.stem for path in top.glob("*.py")} - {"__init__"}


def closure(path: Path) -> set[Path]:
    return imported_files(path)


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


def test_dvc_has_the_stages_in_order_after_what_none_stands_for_and_what_trainings_start_from():
    nothing, start, *others = dvc_stages()
    assert others == ORDER
    assert (nothing, start) == ("nothing", "start") and outs(dvc_stages()[nothing]) == NOTHINGS


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_every_slot_of_an_experiment_is_told_to_dvc(stage):
    deps = dvc_stages()[stage]["do"]["deps"]
    wanted = [f"artifacts/features/${{item.inputs.{slot}}}" for slot in Inputs.model_fields]
    assert wanted == [dep for dep in deps if dep.startswith("artifacts/features/")]
    assert list(Inputs.model_fields) == list(Encoders.model_fields)


@pytest.mark.parametrize("name", preset_names(ROOT))
def test_dvc_makes_a_stage_of_every_name_in_a_preset(name, graph_project):
    (graph_project / "params.yaml").write_text(composed(ROOT, name), encoding="utf8")
    params = load_params()
    with Repo(graph_project) as repo:
        repo.index.check_graph()
        found = sorted(stage.addressing for stage in repo.index.stages)
    sections = {"datasets": params.datasets, "features": params.features, "experiments": params.experiments}
    keyed = {"download": "datasets", "prepare": "datasets", "features": "features"}
    wanted = [f"{stage}@{name}" for stage in ["start", *ORDER] for name in sections[keyed.get(stage, "experiments")]]
    assert found == sorted(["nothing", *wanted])


def test_what_none_stands_for_is_made_by_a_real_run_and_stays(graph_project):
    shutil.copyfile(ROOT / "params.yaml", graph_project / "params.yaml")
    with Repo(graph_project) as repo:
        assert [stage.addressing for stage in repo.reproduce("nothing")] == ["nothing"]
        assert repo.reproduce("nothing") == []
    for place in NOTHINGS:
        assert (graph_project / place).read_text() == "none\n"


@pytest.fixture
def graph_project(tmp_path, monkeypatch):
    """A DVC project with the graph alone, as the current folder."""
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    return tmp_path


@pytest.mark.parametrize("stage", ORDER)
def test_dvc_is_told_every_file_that_a_stage_imports_and_no_other(stage):
    declared = {dep for dep in dvc_stages()[stage]["do"]["deps"] if dep.startswith("stages/")}
    entries = [stage, *(TRAVELLING if stage == "register" else [])]
    wanted = set().union(*(closure(STAGES / f"{entry}.py") for entry in entries))
    wanted |= {template for page, template in TEMPLATES.items() if page in wanted}
    covered = set()
    for dep in declared:
        path = ROOT / dep
        assert path.exists(), f"dvc.yaml: {stage}: {dep} does not exist"
        covered |= {p for p in path.rglob("*") if p.suffix in (".py", ".html")} if path.is_dir() else {path}
    needless = {path for path in covered - wanted if path.name != "__init__.py"} - set(modules(ROOT / GROUND))
    assert named(wanted - covered - ROOM_TITLES) == [], f"dvc.yaml: {stage} lacks deps"
    assert named(needless) == [], f"dvc.yaml: {stage} has deps that it does not import"


TEMPLATES = {
    STAGES / "reports/samples_page.py": STAGES / "reports/templates/samples.html",
    STAGES / "samples/page.py": STAGES / "samples/templates/data.html",
}
ROOM_TITLES = {STAGES / f"{room}/__init__.py" for room in ("media", "pretrained")}  # words, beside a file that is named


def named(paths: set[Path]) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def test_dvc_yaml_stays_short():
    deps = [dep for definition in dvc_stages().values() for dep in definition.get("do", {}).get("deps", [])]
    assert len(deps) <= MOST_DEPS
    for stage in ORDER:
        assert GROUND in dvc_stages()[stage]["do"]["deps"]


@pytest.mark.parametrize("path", modules(STAGES), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_an_import_of_the_stages_only_goes_down(path):
    room = room_of(path, STAGES)
    for package, other in imported(path):
        assert package == "stages", f"{path}: stages know no flows"
        assert other == room or rank(other, LAYERS) < rank(room, LAYERS), f"{room} imports {other}"


@pytest.mark.parametrize("path", modules(FLOWS), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_flows_import_down_and_of_the_stages_what_is_open_to_them(path):
    room = room_of(path, FLOWS)
    for package, other in imported(path):
        if package == "stages":
            assert other in OPEN_TO_FLOWS, f"{path}: imports stages.{other}"
        else:
            assert other == room or rank(other, FLOW_LAYERS) < rank(room, FLOW_LAYERS), f"{room} imports {other}"


@pytest.mark.parametrize("top", [STAGES, FLOWS], ids=lambda p: p.name)
def test_no_door_is_imported(top):
    for path in modules(ROOT / "stages") + modules(ROOT / "flows"):
        found = {name for package, name in imported(path) if package == top.name}
        assert not found & doors(top), f"{path.relative_to(ROOT)} imports a door"


def test_every_room_has_its_layer():
    rooms = {path.parent.name for path in STAGES.glob("*/__init__.py")}
    assert rooms == set().union(*LAYERS)
    assert {path.parent.name for path in FLOWS.glob("*/__init__.py")} == set().union(*FLOW_LAYERS)
    assert doors(STAGES) == {*ORDER, "serve"}


def test_no_folder_is_crowded():
    for top in (STAGES, FLOWS, ROOT / "tests", ROOT / "benchmarks"):
        for folder in [top, *(path for path in top.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
            files = [path for path in folder.iterdir() if path.is_file()]
            assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} has {len(files)} files"
    assert len([path for path in STAGES.iterdir() if path.name != "__pycache__"]) <= MOST_ENTRIES


def test_every_module_begins_with_what_it_is_for():
    for path in modules(STAGES) + modules(FLOWS):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf8"))), f"{path}: no docstring"


@pytest.mark.parametrize("top", [STAGES, FLOWS], ids=lambda p: p.name)
def test_tests_lie_in_the_folder_of_what_they_test(top):
    tests = ROOT / "tests" if top == STAGES else ROOT / "tests/flows"
    rooms = {path.parent.relative_to(top) for path in top.rglob("__init__.py")}
    for folder in {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}:
        if top == FLOWS or folder.parts[:1] != ("flows",):
            assert folder in rooms, f"{tests.name}/{folder} tests no room"


def test_variants_import_no_stage():
    stages = {ROOT / f"stages/{stage}.py" for stage in ORDER}
    for folder in VARIANTS:
        assert modules(STAGES / folder)
        for path in modules(STAGES / folder):
            assert not closure(path) & stages, f"{path.relative_to(ROOT)} imports a stage"


def test_arrows_between_stages_point_one_way():
    for place, stage in enumerate(ORDER):
        later = {ROOT / f"stages/{name}.py" for name in ORDER[place + 1 :]}
        assert not closure(ROOT / f"stages/{stage}.py") & later


def test_a_stage_reads_the_artifact_of_another_never_its_code():
    for stage in ORDER:
        others = {ROOT / f"stages/{name}.py" for name in ORDER if name != stage}
        assert not closure(ROOT / f"stages/{stage}.py") & others


def arrows() -> str:
    """Return the table of CONTRIBUTING: by room, the rooms that it imports."""
    lines = ["| room | imports |", "|---|---|"]
    for top, layers in ((STAGES, LAYERS), (FLOWS, FLOW_LAYERS)):
        found: dict[str, set[str]] = {}
        for path in modules(top):
            others = {name if p == top.name else f"{p}/{name}" for p, name in imported(path)}
            found.setdefault(room_of(path, top), set()).update(others - {room_of(path, top)})
        found.pop("__init__")
        order = sorted(found, key=lambda room: (rank(room, layers), room))
        lines += [f"| `{top.name}/{room}` | {' '.join(sorted(found[room])) or 'none'} |" for room in order]
    return "\n".join(lines)


def test_contributing_shows_the_arrows_as_they_are():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    assert arrows() == text.partition("<!-- arrows -->\n")[2].partition("\n<!-- /arrows -->")[0]
