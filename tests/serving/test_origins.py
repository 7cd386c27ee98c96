"""Pages of other origins: refused in words, or allowed by `serve.allow_origins`, also where a token is wanted."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.running import Running, serving

pytestmark = pytest.mark.filterwarnings("ignore")

OURS, OTHER = "https://app.example", "http://a.example"
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def open_server(every_task: Any) -> Iterator[Running]:
    """A server that wants a token and lets pages of one origin ask."""
    with serving(every_task, "secret", models=["models:/classify@champion"], allow_origins=[OURS]) as running:
        yield running


def preflight(server: Running, origin: str, method: str = "POST", headers: str = "content-type") -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return httpx.options(f"{server.url}/models/classify/predict", headers=asked)


def test_a_preflight_is_refused_in_words_where_no_origin_is_allowed(page_server):
    refused = preflight(page_server, OTHER)
    assert refused.status_code == 403 and ALLOWED not in refused.headers
    error = refused.json()["error"]
    assert error["code"] == "other_origin"
    assert f"pages of {OTHER} may not ask; serve.allow_origins" in error["message"]


def test_an_answer_cannot_be_read_by_a_page_that_is_not_allowed(page_server):
    answer = httpx.get(f"{page_server.url}/models", headers={"origin": OTHER})
    assert answer.status_code == 200 and ALLOWED not in answer.headers and "origin" in answer.headers["vary"].lower()


def test_an_options_that_is_no_preflight_is_answered_as_before(page_server):
    assert httpx.options(f"{page_server.url}/models").status_code == 405


def test_an_allowed_page_may_ask_and_read_answers_and_refusals(open_server):
    asked = preflight(open_server, OURS, headers="authorization, content-type, x-request-id")
    assert asked.status_code == 200 and asked.headers[ALLOWED] == OURS
    assert {"POST", "GET"} <= set(asked.headers["access-control-allow-methods"].split(", "))
    assert "access-control-allow-credentials" not in asked.headers
    path, token = f"{open_server.url}/models/classify/predict", {"authorization": "Bearer secret"}
    answer = httpx.post(path, json={"text": "hello"}, headers={"origin": OURS} | token)
    assert answer.status_code == 200 and answer.headers[ALLOWED] == OURS
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    refused = httpx.post(path, json={"text": "hello"}, headers={"origin": OURS})
    assert refused.status_code == 401 and refused.headers[ALLOWED] == OURS


def test_other_pages_and_other_methods_are_still_refused(open_server):
    assert preflight(open_server, OTHER).status_code == 403
    assert preflight(open_server, OURS + ".evil").status_code == 403
    assert preflight(open_server, OURS, method="DELETE").status_code == 400
    assert preflight(open_server, OURS, headers="x-other").status_code == 400


def test_every_page_may_ask_where_every_origin_is_allowed(every_task):
    with serving(every_task, models=["models:/classify@champion"], allow_origins=["*"]) as running:
        assert preflight(running, OTHER).headers[ALLOWED] == "*"
        assert httpx.get(f"{running.url}/models", headers={"origin": OTHER}).headers[ALLOWED] == "*"
