"""What the environment of a flow has, whatever the machine has set."""

import os
from collections.abc import Iterator

import httpx
import pytest
import requests

from flows.graph import settings


@pytest.fixture
def environment() -> Iterator[None]:
    """The environment, put back at the end with all that a test sets."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("known", ["", "intranet.example", "localhost,.example"])
def test_our_own_servers_are_not_asked_through_a_proxy(environment: None, known: str):
    os.environ.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"))
    os.environ.update({"NO_PROXY": known, "no_proxy": known})
    settings.apply()
    settings.apply()
    hosts = os.environ["NO_PROXY"].split(",")
    assert sorted(hosts) == sorted({*filter(None, known.split(",")), *settings.NO_PROXY})
    for address in ("http://127.0.0.1:4200/api", "http://localhost:4200/api"):
        assert not requests.utils.get_environ_proxies(address)
        with httpx.Client() as client:
            assert client._transport_for_url(httpx.URL(address)) is client._transport
    assert requests.utils.get_environ_proxies("http://data.test/")["http"] == "http://127.0.0.1:9"


def test_what_is_set_already_wins(environment: None):
    os.environ["DO_NOT_TRACK"] = "false"
    settings.apply()
    assert os.environ["DO_NOT_TRACK"] == "false"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
