"""The deployment `retrain/nightly`, served by this process: cron and time zone of params.yaml, one run at a time.

prefect.yaml holds the same deployment for work pools. `make schedule` runs this beside a Prefect server.
"""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import sys
from pathlib import Path
from uuid import UUID

from flows.graph import settings

settings.apply()

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.retraining.at_work import at_work
from flows.retraining.crashed_runs import sweep
from flows.retraining.flow import retrain
from flows.retraining.names import EVENT, NAME, WHAT
from stages.base.errors import InputError
from stages.params import RetrainParams, load_params

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


def deployment(params: RetrainParams) -> RunnerDeployment:
    """Return the deployment with the schedule of params.yaml.

    Raises:
        InputError: There is no such schedule.
    """
    try:
        schedule = Cron(params.cron, timezone=params.timezone)
    except ValueError as error:
        wanted = f"a cron line and a time zone such as Europe/Paris ({error})"
        raise InputError(
            f"retrain: got cron {params.cron!r}, timezone {params.timezone!r}; expected {wanted}"
        ) from None
    made = retrain.to_deployment(
        NAME,
        schedule=schedule,
        concurrency_limit=ONE_AT_A_TIME,
        triggers=[DeploymentEventTrigger(name=f"retrain when {EVENT}", expect={EVENT})],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(made, RunnerDeployment)
    return made


def register(root: Path) -> RunnerDeployment:
    """Bring the deployment to the server, and mark its runs that were killed; return it."""
    served = deployment(load_params(root / "params.yaml").retrain)
    found = served.apply()
    assert isinstance(found, UUID)
    sweep(found, (at_work(root, WHAT) or {}).get("run"))
    return served


def main() -> None:
    """Serve until stopped; the schedule goes on where it was when served again."""
    try:
        served = register(settings.project_root())
    except InputError as error:
        sys.exit(f"error: {error}")
    serve(served, pause_on_shutdown=False, limit=1, print_starting_message=False)


if __name__ == "__main__":
    main()
