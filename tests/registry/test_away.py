"""The registry's server dies in the middle of a promotion, or the registration does: the next run ends it well.

One moment of each kind, and all of them with FUSELINE_KILLS=all (minutes).
"""

import os
import subprocess
import sys

import pytest

from flows import rollback
from stages import evaluate, register
from stages.base.errors import InputError
from stages.base.tracking import client
from stages.registry.journal import history
from stages.registry.lineage import DIGEST_TAG, version_digest
from stages.registry.registry import CHAMPION, aliases, fault_of
from tests.conftest import PROJECT, SMALL
from tests.support.registry_server import RegistryServer, Way, free_port
from tests.support.small_data import make_params

pytestmark = pytest.mark.filterwarnings("ignore")

# Of the changes that a registration asks of the server: part of the path, which one of these, before or after it.
MOMENTS = [
    ("runs/log-batch", 0, False),
    ("evaluate/predictions.parquet", 0, True),
    ("code/stages/registry/gate.py", 0, False),
    ("artifacts/caption/model.safetensors", 0, False),
    ("mlflow/logged-models/m-", 0, False),
    ("model-versions/create", 0, True),
    ("registered-models/alias", 0, True),  # challenger
    ("model-versions/set-tag", 0, True),  # the decision
    ("registered-models/set-tag", 0, True),  # the move is written ahead
    ("registered-models/alias", 1, False),  # champion
    ("registered-models/alias", 1, True),
    ("registered-models/alias", 2, True),  # no challenger any more
    ("model-versions/set-tag", 3, False),  # when, by whom and why
    ("registered-models/set-tag", 1, False),  # the move is done
]
CHAMPION_SET = MOMENTS[10]
CHOSEN = MOMENTS if os.environ.get("FUSELINE_KILLS") == "all" else [CHAMPION_SET]


@pytest.fixture
def server(tmp_path):
    (tmp_path / "store").mkdir()
    found = RegistryServer(tmp_path / "store")
    found.start()
    yield found
    found.kill()


@pytest.fixture
def way(server, project, monkeypatch):
    """The way to the server, with the first version registered."""
    found = Way(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    register.command(["caption"])
    yield found
    found.close()


def make_challenger(project, number: int) -> None:
    """Evaluate the same model with another page of samples: another digest, equal predictions."""
    evaluate.run(make_params(project, SMALL | {"evaluate.num_samples_shown": 4 + number}), "caption")


def register_in_a_process(strike_with: list) -> int:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "stages.register", "caption"], env=environment)
    strike_with.append(process.kill)
    return process.wait()


def check(way: Way, number: int) -> None:
    """One command brings all in order, and once more changes nothing."""
    way.plan("", -1, False)
    register.command(["caption"])
    versions = client().search_model_versions("name = 'caption'")
    assert {int(version.version) for version in versions} == set(range(1, number + 1))
    assert len({version.tags[DIGEST_TAG] for version in versions}) == number
    assert {alias: int(to) for alias, to in aliases(client(), "caption").items()} == {CHAMPION: number}
    newest = client().get_model_version("caption", str(number))
    assert newest.tags[DIGEST_TAG] == version_digest("caption")
    assert {"fuseline.promoted_at", "fuseline.promoted_by", "fuseline.promoted_why"} <= set(newest.tags)
    assert fault_of(client(), "caption", number) is None
    moves = [(entry.before, entry.to, entry.done) for entry in history(client(), "caption")]
    assert moves == [(to - 1 or None, to, True) for to in range(1, number + 1)]
    way.plan("", -1, False)
    register.command(["caption"])
    assert way.changes == []


def test_a_killed_server_or_registration_leaves_nothing_half_moved(way, project):
    number = 1
    for part, nth, is_after in CHOSEN:
        number += 1
        make_challenger(project, number)
        way.plan(part, nth, is_after)
        message = rf"the MLflow server at {way.uri} does not answer \(.*\)\. Nothing is half moved: start it"
        with pytest.raises(InputError, match=message):
            register.command(["caption"])
        way.server.start()
        at_once = aliases(client(), "caption")
        assert fault_of(client(), "caption", int(at_once[CHAMPION])) is None
        check(way, number)
    for part, nth, is_after in CHOSEN:
        number += 1
        make_challenger(project, number)
        kill: list = []
        way.plan(part, nth, is_after, lambda kill=kill: kill[0]())
        assert register_in_a_process(kill) == -9
        check(way, number)


def test_a_server_that_is_away_is_named_without_credentials(project, monkeypatch):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{port}")
    for command in (register.command, rollback.command):
        with pytest.raises(InputError, match=rf"the MLflow server at http://127.0.0.1:{port} does not") as caught:
            command(["caption"])
        assert "secret" not in str(caught.value)
    assert not (project / "artifacts/register/caption").exists()
