"""Values of the sections about what becomes of a model that no type alone can check."""

import pytest
from pydantic import ValidationError

from stages.params import load_params
from stages.params.production import ServeParams
from tests.conftest import PROJECT


def serve_params(origins: list[str]) -> ServeParams:
    return ServeParams(**(load_params(PROJECT / "params.yaml").serve.model_dump() | {"allow_origins": origins}))


@pytest.mark.parametrize(
    "origin",
    ["*", "https://app.example", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:81"]
    + ["https://xn--fsq.example", "https://a.example:80", "chrome-extension://abc", "capacitor://localhost"],
)
def test_origins_as_browsers_send_them_are_taken(origin):
    assert serve_params([origin]).allow_origins == [origin]


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://app.example/", "https://app.example/page", "https://App.example", "HTTPS://app.example"]
    + ["https://app.example:443", "http://app.example:80", "https://*.app.example", "https://例.example", "", "null"],
)
def test_what_no_browser_sends_is_refused(origin):
    with pytest.raises(ValidationError, match="origins as browsers send them, such as https://app.example"):
        serve_params(["https://other.example", origin])
