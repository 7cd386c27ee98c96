"""The OpenAPI document holds: requests made from it, right and wrong ones, get the answers that it names."""

import contextlib

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS

pytestmark = pytest.mark.filterwarnings("ignore")

NOT_HELD = ("positive_data_acceptance", "negative_data_rejection")  # no schema can tell an image from other bytes
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
EXAMPLES = 25


def hold(url: str, names: list[str]) -> list[str]:
    """Try every operation of the document, on models that are there and one that is not; return their labels."""
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    left_out = [check for check in CHECKS.get_all() if check.__name__ in NOT_HELD]
    tried = []
    for found in api.get_all_operations():
        operation = found.ok()
        for mode in MODES:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            )
            def ask(case: schemathesis.Case) -> None:
                if "name" in case.path_parameters:
                    place = sum(map(ord, str(case.path_parameters["name"])))
                    case.path_parameters["name"] = [*names, "no-such-model"][place % (len(names) + 1)]
                case.call_and_validate(excluded_checks=left_out, timeout=60)

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong where nothing is given
                ask()
        tried.append(operation.label)
    return tried


def test_answers_are_as_the_document_says(page_server):
    names = [card.name for card in page_server.models.cards()]
    tried = hold(page_server.url, names)
    assert {"POST /models/{name}/predict", "POST /models/{name}/search", "GET /models"} <= set(tried)
    assert httpx.get(f"{page_server.url}/ready").status_code == 200
