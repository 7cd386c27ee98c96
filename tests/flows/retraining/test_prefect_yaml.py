"""prefect.yaml on a real server: it says what params.yaml says, Prefect takes it, and an event starts a run."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml

from flows.retraining.names import EVENT, FLOW, NAME
from stages.params import load_params
from tests.conftest import PROJECT

FILE: dict[str, Any] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
POOLS = {
    deployment["work_pool"]["name"]: kind
    for deployment, kind in zip(FILE["deployments"], ("process", "docker", "kubernetes"), strict=True)
}


@pytest.mark.parametrize("deployment", FILE["deployments"], ids=lambda deployment: deployment["name"])
def test_every_pool_has_the_schedule_of_params_yaml_and_the_same_rules(deployment: dict[str, Any]):
    retrain = load_params(PROJECT / "params.yaml").retrain
    assert deployment["schedules"] == [{"cron": retrain.cron, "timezone": retrain.timezone}]
    assert deployment["entrypoint"] == "flows/retraining/flow.py:retrain"
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert [trigger["expect"] for trigger in deployment["triggers"]] == [[EVENT]]


def test_the_served_deployment_is_the_one_of_the_process_pool(prefect_server: str):
    from flows.retraining.deployment import deployment

    served = deployment(load_params(PROJECT / "params.yaml").retrain)
    filed = FILE["deployments"][0]
    assert (served.name, served.flow_name) == (filed["name"], FLOW) == (NAME, FLOW)
    assert {trigger.name for trigger in served.triggers} == {filed["triggers"][0]["name"]}
    assert served.concurrency_limit == filed["concurrency_limit"]["limit"]
    assert served.concurrency_options is not None
    assert served.concurrency_options.collision_strategy == filed["concurrency_limit"]["collision_strategy"]


def test_prefect_deploys_all_and_an_event_starts_a_run(prefect_server: str):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.events import emit_event

    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PYTHONPATH": str(PROJECT), "PWD": str(PROJECT)}
    with get_client(sync_client=True) as client:
        for name, kind in POOLS.items():
            client.create_work_pool(WorkPoolCreate(name=name, type=kind))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        names = [f"{FLOW}/{deployment['name']}" for deployment in FILE["deployments"]]
        found = {name: client.read_deployment_by_name(name) for name in names}
        assert all(one.schedules[0].active for one in found.values())
        assert [one.work_pool_name for one in found.values()] == list(POOLS)
        folders = [next(iter(one.pull_steps[0].values()))["directory"] for one in found.values()]
        assert folders == [str(PROJECT), str(PROJECT), "/project"]
        docker = found[f"{FLOW}/nightly-docker"]
        assert docker.job_variables["volumes"] == [f"{PROJECT}:{PROJECT}"]
        try:
            emit_event(EVENT, resource={"prefect.resource.id": "fuseline.dataset"})
            assert wait_for_run(client, found[f"{FLOW}/{NAME}"].id)
        finally:
            for one in found.values():
                client.delete_deployment(one.id)


def wait_for_run(client: Any, deployment_id: Any) -> bool:
    """Return whether a run that a trigger made appears within a minute."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = client.read_flow_runs(deployment_filter=chosen)
        if any(run.created_by and run.created_by.type == "AUTOMATION" for run in runs):
            return True
        time.sleep(0.5)
    return False
