"""What clients of HTTP expect of any server: HEAD, bodies that are encoded, pages of other origins."""

import gzip
import zlib

import httpx
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/page.js", "/models", "/metrics", "/docs", "/no/such"])
def test_head_is_get_without_a_body(page_server, path):
    got, head = httpx.get(page_server.url + path), httpx.head(page_server.url + path)
    assert head.status_code == got.status_code and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # its figures move
        assert head.headers.get("content-length") == got.headers.get("content-length")


def test_head_where_there_is_no_get_is_refused(page_server):
    assert httpx.head(f"{page_server.url}/models/caption/predict").status_code == 405


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, gzip"])
def test_an_encoded_body_is_refused_by_its_encoding(page_server, encoding):
    pack = zlib.compress if encoding == "deflate" else gzip.compress
    headers = {"content-type": "application/json", "content-encoding": encoding}
    body = pack(b'{"question": "' + b"a" * 10**7 + b'"}')
    refused = httpx.post(f"{page_server.url}/models/vqa/predict", content=body, headers=headers)
    assert refused.status_code == 415
    assert f"a body as {encoding.lower()} is not read" in refused.json()["error"]["message"]


def test_a_body_said_to_be_as_it_is_is_read(page_server):
    headers = {"content-type": "application/json", "content-encoding": "identity"}
    body = b'{"question": "what colour is it"}'
    assert httpx.post(f"{page_server.url}/models/vqa/predict", content=body, headers=headers).status_code == 200
