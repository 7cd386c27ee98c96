"""Runs that Prefect believes to be at work although their process was killed: they are marked as crashed.

Whoever holds the project's lock of retraining knows that no other run of its deployment is at work.
"""

from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.states import Crashed

AT_WORK = [StateType.RUNNING, StateType.CANCELLING]
MESSAGE = "Its process was killed; the next run carries on"


def sweep(deployment_id: UUID | None, alive: str | None) -> list[str]:
    """Mark the runs of a deployment that are said to be at work, but for the one named `alive`; return their names.

    A server that is away does not stop the caller: the next sweep does it.
    """
    if deployment_id is None:
        return []
    try:
        return _sweep(deployment_id, alive)
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("flows").warning("Crashed runs are not marked: %s", error)
        return []


def _sweep(deployment_id: UUID, alive: str | None) -> list[str]:
    chosen = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK)),
    )
    with get_client(sync_client=True) as client:
        dead = [run for run in client.read_flow_runs(flow_run_filter=chosen) if run.name != alive]
        for run in dead:
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
    return [run.name for run in dead]
