"""Promotion: the gate's decision on a new version, and the champion moved to it.

The decision is kept as a tag of the version before anything moves, and a move is written ahead, so that a
registration that was killed anywhere ends the same when it runs again.
"""

import json
from typing import Any

from stages.base.errors import InputError
from stages.params import Params
from stages.registry.journal import forbidden, history, move, recover
from stages.registry.lineage import PREFIX
from stages.registry.registry import CHALLENGER, champion_of, fault_of, require_version

DECISION_TAG = f"{PREFIX}decision"


def settle(mlflow_client: Any, params: Params, name: str, number: int) -> dict[str, Any]:
    """Let the gate decide on a version and move the aliases; repeated, it changes nothing.

    A version that was rejected, replaced or forbidden stays so.

    Raises:
        InputError: when the version is not whole.
    """
    recover(mlflow_client, name)
    version = require_version(mlflow_client, name, number)
    reason = forbidden(version)
    if reason:
        return {"promote": False, "reasons": [reason]}
    fault = fault_of(mlflow_client, name, number)
    if fault:
        raise InputError(f"{name}: version {number} is not whole: {fault}; delete it in MLflow and run again")
    champion = champion_of(mlflow_client, name)
    decision = json.loads(version.tags.get(DECISION_TAG, "null"))
    if decision is None or _is_overtaken(mlflow_client, name, number, decision, champion):
        decision = _decide(mlflow_client, params, name, number, champion)
    elif not _is_unmoved(mlflow_client, name, number, decision):
        return decision
    if decision["promote"] and champion != number:
        move(mlflow_client, name, number, "; ".join(decision["reasons"]))
    return decision


def _is_unmoved(mlflow_client: Any, name: str, number: int, decision: dict[str, Any]) -> bool:
    """Tell whether the registration was killed between its decision and the move."""
    known = "against" in decision  # the first registrations kept their decision last
    return known and decision["promote"] and all(entry.to != number for entry in history(mlflow_client, name))


def _is_overtaken(mlflow_client: Any, name: str, number: int, decision: dict[str, Any], champion: int | None) -> bool:
    """Tell whether another version became champion between the decision and the move."""
    return _is_unmoved(mlflow_client, name, number, decision) and decision["against"] != champion


def _decide(mlflow_client: Any, params: Params, name: str, number: int, champion: int | None) -> dict[str, Any]:
    """Make the version challenger, compare it with the champion and keep the decision."""
    from stages.registry.comparison import compare

    if champion == number:
        decision: dict[str, Any] = {"promote": True, "reasons": ["it is the champion already"]}
    else:
        mlflow_client.set_registered_model_alias(name, CHALLENGER, str(number))
        decision = compare(mlflow_client, params, name, number, champion)
    decision["against"] = champion
    mlflow_client.set_model_version_tag(name, str(number), DECISION_TAG, json.dumps(decision))
    return decision
