"""Fixtures of the flows' tests: a small DVC project of real stages, and one Prefect server for all tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tests.support.running import Running, serving

PROJECT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Take Ctrl-C again where a shell started the tests in its background: tests of it need it, in children too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


SERVERS = "servers"
SLOW_FIRST = (  # by what they cost: two workers then end at about the same time
    "test_benchmarks",  # it forks: not from a process with the threads of others
    "flows/test_rebuild",
    SERVERS,
    "test_train",
    "test_serve",
    "test_register",
    "registry/",
    "serving/",
    "flows/",
    "test_",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, and all that use the Prefect server; the slowest come first."""
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    last = len(SLOW_FIRST)
    items.sort(key=lambda item: next((i for i, slow in enumerate(SLOW_FIRST) if groups[item].startswith(slow)), last))


def _group(item: pytest.Item) -> str:
    if "prefect_server" in getattr(item, "fixturenames", ()):
        return SERVERS
    return item.path.relative_to(PROJECT / "tests").with_suffix("").as_posix()


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """Yield a folder that all workers share, and whether it is still to be filled; the others wait until it is."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        yield folder, not done.exists()
        done.touch()


TOY_STAGES = """
stages:
  download:
    foreach: [scenes]
    do:
      cmd: python work.py download ${item}
      deps: [work.py]
      outs: ["artifacts/download/${item}"]
  features:
    foreach: [scenes-text, scenes-image]
    do:
      cmd: python work.py features ${item}
      deps: [artifacts/download/scenes]
      outs: ["artifacts/features/${item}"]
  train:
    foreach: [caption]
    do:
      cmd: python work.py train ${item}
      deps: [settings.txt, artifacts/features/scenes-image, artifacts/features/scenes-text]
      outs: ["artifacts/train/${item}"]
  register:
    foreach: [caption]
    do:
      cmd: python work.py register ${item}
      deps: ["artifacts/train/${item}"]
      outs: ["artifacts/evaluate/${item}", "artifacts/register/${item}"]
"""

TOY_WORK = """
import json, os, pathlib, signal, sys, time

stage, name = sys.argv[1:]
address = f"{stage}@{name}"
with open("calls.txt", "a") as calls:
    calls.write(address + "\\n")
print(f"at work on {address}")
if os.environ.get("FUSELINE_PROGRESS") == "1":
    print("PROGRESS 0.42")
if os.environ.get("TOY_STUBBORN"):
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("TOY_SLEEP") == address:
    print(f"asleep {os.getpid()}")
    time.sleep(600)
if os.environ.get("TOY_FAIL") == address:
    print("ERROR: the stage's own word")
    sys.exit("the toy is broken")


def write(stage, file_name, value):
    folder = pathlib.Path("artifacts", stage, name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file_name).write_text(json.dumps(value))


if stage == "register":
    beside = {"baselines": {"majority": {"bleu_1": 0.2, "bleu_4": 0.1}}, "ceiling": {"bleu_4": 0.75}}
    write("evaluate", "metrics.json", {"bleu_1": 0.5, "bleu_4": 0.25, "num_samples": 7, **beside})
    version = {"name": "toy-caption", "version": 3, "aliases": ["champion"], "run_id": "r1"}
    version["inputs"] = ["image", "text"]
    decision = {"promote": True, "reasons": ["it is the first version"]}
    other = json.loads(os.environ.get("TOY_VERSION", "{}"))
    write("register", "version.json", {**version, "decision": decision, **other})
else:
    text = pathlib.Path("settings.txt").read_text() if stage == "train" else address
    write(stage, "out.json", text)
"""


def dvc(root: Path, *arguments: str) -> None:
    """Run dvc in `root`, with the `python` of this environment first on PATH."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=root, check=True, capture_output=True, env={**os.environ, "PATH": path})


def calls(root: Path) -> list[str]:
    """Return the stages of a toy that really ran, in order."""
    path = root / "calls.txt"
    return path.read_text().split() if path.exists() else []


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def table_rows(output: str) -> dict[str, list[str]]:
    """Return the cells of each printed table row, by the first."""
    cells = [line.split() for line in output.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) > 1}


@pytest.fixture(scope="session")
def reproduced_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project whose stages have all run once; take a copy of it by `toy`."""
    root = tmp_path_factory.mktemp("toy")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc(root, "init", "--quiet")
    dvc(root, "config", "core.analytics", "false")
    dvc(root, "config", "core.check_update", "false")
    dvc(root, "config", "core.site_cache_dir", str(tmp_path_factory.mktemp("site_cache")))
    (root / "dvc.yaml").write_text(TOY_STAGES)
    (root / "work.py").write_text(TOY_WORK)
    (root / "settings.txt").write_text("first")
    dvc(root, "repro")
    (root / "calls.txt").unlink()
    return root


@pytest.fixture
def toy(reproduced_toy: Path, tmp_path: Path) -> Path:
    """An own copy of the toy project, up to date; its stages append their address to `calls.txt`."""
    return Path(shutil.copytree(reproduced_toy, tmp_path / "toy"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect server with an empty database; flows of this process use it."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    from flows.graph import settings

    settings.apply()
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def cli_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which `python -m flows...` runs in another project's folder."""
    home = str(tmp_path_factory.mktemp("prefect_home"))
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PREFECT_HOME": home}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors are slower with threads that wait for each other."""
    import torch

    torch.set_num_threads(1)


SMALL = {
    "base.threads": 1,
    "base.device": "cpu",
    "datasets.scenes.samples": 160,
    "datasets.scenes.image_size_px": 32,
    "datasets.scenes.max_objects": 1,
    "datasets.scenes.targets": True,
    "features.scenes-image.size_px": 32,
    "experiments.caption.dim": 32,
    "experiments.caption.layers": 1,
    "experiments.caption.attention_heads": 2,
    "experiments.caption.train": {},
    "experiments.classify.dim": 16,
    "experiments.classify.train": {"epochs": 2, "batch_size": 32},
    "register.metric": "bleu_1",
    "train.epochs": 6,
    "train.batch_size": 8,
    "train.ema_decay": 0.9,
    "evaluate.num_samples_shown": 4,
}


QUICK = {"dim": 16, "train": {"epochs": 1, "batch_size": 32}}
PAIR = {
    "dataset": "scenes",
    "inputs": {"image": "scenes-image", "audio": "none", "text": "scenes-message", "question": "none"},
    "encoders": {"image": "cnn", "audio": "none", "text": "bag", "question": "none"},
    "fusion": "concat",
    "layers": 1,
    "attention_heads": 2,
    "dropout": 0.1,
    "modality_dropout": 0.0,
    **QUICK,
}
SPEECH = {
    "dataset": "scenes",
    "modality": "audio",
    "extractor": "log_mel",
    "rate_hz": 8000,
    "seconds": 1.5,
    "mel_bands": 24,
    "window_ms": 32.0,
    "hop_ms": 20.0,
    "leading_silence": "kept",
    "batch_size": 64,
}
HEARD = {
    "dataset": "scenes",
    "modality": "text",
    "extractor": "tokens",
    "column": "transcript",
    "answers": "transcribe",
    "max_words": 4,
    "batch_size": 64,
}
CLIPS = {  # of objects that move; a model of theirs
    "datasets.clips": {
        "source": "scenes",
        "folder": "none",
        "samples": 120,
        "image_size_px": 32,
        "max_objects": 1,
        "captions_per_image": 1,
        "questions_per_image": 1,
        "noise": 0.03,
        "cue_error": 0.1,
        "clips": True,
        "fields": True,
        "label": "situation",  # which the background tells in part, so that little training beats guessing
    },
    "features.clips-video": {
        "dataset": "clips",
        "modality": "video",
        "extractor": "frames",
        "fps": 5,
        "seconds": 1.2,
        "size_px": 16,
        "batch_size": 32,
    },
    "features.clips-fields": {"dataset": "clips", "modality": "fields", "extractor": "fields", "batch_size": 64},
    "experiments.offer": {
        **PAIR,
        "dataset": "clips",
        "task": "classify",
        "inputs": {"image": "none", "audio": "none", "text": "none", "question": "none", "fields": "clips-fields"},
        "encoders": {"fields": "transformer"},
    },
    "experiments.film": {
        **PAIR,
        "dataset": "clips",
        "task": "classify",
        "inputs": {"image": "none", "audio": "none", "text": "none", "question": "none", "video": "clips-video"},
        "encoders": {"video": "gru"},
        "train": {"epochs": 15, "batch_size": 8, "learning_rate": 0.005, "patience": 15},
    },
}
RATED = {  # scenes that users rate; a model of their tastes
    "datasets.rated": CLIPS["datasets.clips"]
    | {"samples": 80, "clips": False, "fields": False, "users": 12, "ratings_per_user": 30},
    "features.rated-image": {
        "dataset": "rated",
        "modality": "image",
        "extractor": "pixels",
        "size_px": 32,
        "batch_size": 32,
    },
    "features.rated-message": {
        "dataset": "rated",
        "modality": "text",
        "extractor": "tokens",
        "column": "texts",
        "max_words": 12,
        "batch_size": 32,
    },
    "experiments.likes": {
        **PAIR,
        "dataset": "rated",
        "task": "recommend",
        "inputs": {"image": "rated-image", "audio": "none", "text": "rated-message", "question": "none"},
        "feedback": "implicit",
        "item_number": True,
        "user_number": True,
        "user_fields": True,
        "history": 4,
        "liked": 4.0,
    },
}
OTHERS = [
    "retrieve",
    "vqa",
    "match",
    "translate",
    "transcribe",
    "regress",
    "tag",
    "hear",
    "film",
    "offer",
    "generate",
    "likes",
]
OTHER_TASKS = (
    CLIPS
    | RATED
    | {
        **{f"experiments.{name}.{key}": value for name in ("retrieve", "vqa") for key, value in QUICK.items()},
        "experiments.match": {**PAIR, "task": "match", "target": "text"},
        "experiments.translate": {**PAIR, "task": "translate", "way": "shared"},
        "experiments.regress": {**PAIR, "task": "regress"},
        "experiments.tag": {**PAIR, "task": "tag"},
        "experiments.generate": {
            **PAIR,
            "task": "generate",
            "inputs": {"image": "scenes-image", "audio": "none", "text": "scenes-caption", "question": "none"},
            "encoders": {"text": "bag"},
            "target": "image",
            "head": "flow",
            "channels": 8,
        },
        "features.scenes-speech": SPEECH,
        "experiments.transcribe": {
            **PAIR,
            "task": "transcribe",
            "inputs": {"image": "none", "audio": "scenes-speech", "text": "none", "question": "none"},
            "encoders": {"audio": "cnn_gru"},
            "units": "words",
            "ngram_order": 2,
            "dim": 32,
            "dropout": 0.0,
            "train": {"epochs": 40, "batch_size": 8, "learning_rate": 0.01, "patience": 40, "ema_decay": 0.0},
        },
        "features.scenes-heard": HEARD,
        "experiments.hear": {
            **PAIR,
            "task": "classify",
            "inputs": {"image": "none", "audio": "none", "text": "scenes-heard", "question": "none"},
            "encoders": {"text": "bag"},
        },
    }
)


@contextmanager
def working_in(root: Path) -> Iterator[None]:
    """Make a folder the current one; MLflow's address, which it keeps in the environment, goes at the end."""
    before = Path.cwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run once on 160 small scenes, for one modality and for three."""
    from stages import download, evaluate, features, prepare, register, train
    from tests.support.small_data import make_params

    with made_once(tmp_path_factory, "finished_project") as (root, is_new):
        if is_new:
            root.mkdir()
            with working_in(root):
                params = make_params(root, SMALL)
                features_of = [(features, name) for name in params.features]
                for stage, name in [(download, "scenes"), (prepare, "scenes"), *features_of]:
                    stage.run(params, name)
                for name in ("caption", "classify"):
                    for stage in (train, evaluate, register):
                        stage.run(params, name)
    return root


@pytest.fixture(scope="session")
def project_of_every_task(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished project, with a tracking store of its own, in which the other tasks have run too."""
    from stages import download, evaluate, features, prepare, register, train
    from tests.support.small_data import make_params

    with made_once(tmp_path_factory, "project_of_every_task") as (root, is_new):
        if is_new:
            shutil.copytree(finished_project, root, ignore=shutil.ignore_patterns("mlflow", "register", "locks"))
            with working_in(root):
                params = make_params(root, SMALL | OTHER_TASKS)
                for name in ("clips", "rated"):
                    download.run(params, name)
                    prepare.run(params, name)
                for name in ("clips-video", "clips-fields", "rated-image", "rated-message", "scenes-speech"):
                    features.run(params, name)
                for name in OTHERS:
                    if name == "hear":
                        features.run(params, "scenes-heard")
                    for stage in (train, evaluate):
                        stage.run(params, name)
                for name in params.experiments:
                    register.run(params, name)
    return root


@pytest.fixture
def every_task(project_of_every_task: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of every task, as the current folder; to be read only."""
    monkeypatch.chdir(project_of_every_task)
    store = f"sqlite:///{project_of_every_task}/artifacts/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return project_of_every_task


@pytest.fixture(scope="session")
def page_server(project_of_every_task: Path) -> Iterator[Running]:
    """The server with a model of every task, on a free port of this machine."""
    with working_in(project_of_every_task):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{project_of_every_task}/artifacts/mlflow/mlflow.db"
        with serving(project_of_every_task) as running:
            yield running


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an MLflow store with all tables and nothing in them, to be copied: making one takes three seconds."""
    from stages.base.tracking import client

    with made_once(tmp_path_factory, "mlflow.db") as (path, is_new):
        if is_new:
            with working_in(tmp_path_factory.mktemp("store")):
                os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{path}"
                client().search_experiments()
    return path


@pytest.fixture
def project(finished_project: Path, made_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own copy of the finished project, as the current folder; its tracking store is empty."""
    ignored = shutil.ignore_patterns("mlflow", "register", "locks")
    root = Path(shutil.copytree(finished_project, tmp_path / "project", ignore=ignored))
    monkeypatch.chdir(root)
    (root / "artifacts/mlflow").mkdir()
    shutil.copyfile(made_store, root / "artifacts/mlflow/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/artifacts/mlflow/mlflow.db")
    return root


@pytest.fixture(scope="module")
def empty_store(made_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an MLflow store; what a test registers there it removes."""
    return f"sqlite:///{shutil.copy(made_store, tmp_path_factory.mktemp('store'))}"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what writes a family's tiny model, once; its folder is to be left as it is."""
    from tests.support.tiny_models import write_tiny

    return cache(lambda name: write_tiny(name, tmp_path_factory.mktemp("tiny") / name))
