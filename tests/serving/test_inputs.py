"""Inputs in every form that browsers and tools give them: one answer; what is left empty is missing."""

import base64
from typing import Any

import httpx
import pytest

from stages.models.tables import read_rows
from tests.support.videos import video

pytestmark = pytest.mark.filterwarnings("ignore")

FORMS = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "wrapped": lambda data: base64.encodebytes(data).decode(),
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "not padded": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "data URL": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
}
PATHS = ["照片.png", "photo", "/etc/passwd", "http://127.0.0.1/x.png", "data:image/png;base64,a.b."]


@pytest.fixture(scope="module")
def sample(page_server) -> dict[str, Any]:
    folder = page_server.project / "artifacts/prepare/scenes"
    return read_rows(folder, "test", ["sample_id", "image", "audio", "message", "texts"])[0]


def predict(server: Any, model: str, query: str = "predict", **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/models/{model}/{query}", timeout=60, **body)


def answer(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["answer"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_base64_gets_the_answer_of_the_bytes(page_server, sample, form):
    wanted = answer(predict(page_server, "classify", files={"image": sample["image"], "audio": sample["audio"]}))
    given = {name: FORMS[form](sample[name]) for name in ("image", "audio")}
    assert answer(predict(page_server, "classify", json=given)) == wanted


def test_a_data_url_as_a_field_of_a_form_is_read(page_server, sample):
    wanted = answer(predict(page_server, "caption", files={"image": sample["image"]}))
    field = {"image": (None, FORMS["data URL"](sample["image"]))}
    assert answer(predict(page_server, "caption", files=field)) == wanted


@pytest.mark.parametrize("text", PATHS)
def test_a_path_or_an_address_is_named_as_such(page_server, text):
    refused = predict(page_server, "caption", json={"image": text})
    assert refused.status_code == 422 and "a path or an address is not read here" in refused.json()["error"]["message"]


def test_ids_may_have_commas_where_they_come_in_a_list(page_server):
    refused = predict(page_server, "likes", json={"liked": ["one, two", "three"]})
    assert refused.status_code == 422 and "no item is called 'one, two'" in refused.json()["error"]["message"]
    items = ["scene-00000003", "scene-00000004"]
    assert answer(predict(page_server, "likes", json={"liked": items})) == answer(
        predict(page_server, "likes", files={"liked": (None, "scene-00000003; scene-00000004")})
    )


EMPTY: dict[str, dict[str, Any]] = {
    "json": {"json": {"text": ""}},
    "json of spaces": {"json": {"text": " \n\u3000"}},
    "json of media": {"json": {"image": "", "text": None}},
    "a field": {"files": {"text": (None, "")}},
    "a field of spaces": {"files": {"text": (None, " \u3000")}},
    "a field of media": {"files": {"image": (None, "")}},
    "a field for files, left alone": {"files": {"image": ("", b"", "application/octet-stream")}},
    "an empty text of another model's": {"json": {"question": "", "text": ""}},
}


@pytest.mark.parametrize("kind", EMPTY)
def test_what_is_left_empty_is_missing(page_server, sample, kind):
    wanted = answer(predict(page_server, "classify", json={"audio": FORMS["plain"](sample["audio"])}))
    ((way, given),) = EMPTY[kind].items()
    audio = FORMS["plain"](sample["audio"]) if way == "json" else ("a.wav", sample["audio"])
    assert answer(predict(page_server, "classify", **{way: given | {"audio": audio}})) == wanted
    alone = predict(page_server, "classify", **EMPTY[kind])
    assert alone.status_code == 422 and "nothing is given; give one or more of" in alone.json()["error"]["message"]


def test_an_empty_text_beside_an_image_searches_by_the_image(page_server, sample):
    given = {"image": FORMS["plain"](sample["image"])}
    both = predict(page_server, "retrieve", "search", json=given | {"text": " "}).json()
    assert both["results"] and both["looked_for"] == "text"
    assert both["results"] == predict(page_server, "retrieve", "search", json=given).json()["results"]


def test_an_empty_file_is_a_mistake_not_a_missing_input(page_server):
    for empty in ({"files": {"image": ("a.png", b"")}}, {"json": {"image": "data:,"}}):
        refused = predict(page_server, "caption", **empty)
        assert refused.status_code == 422 and "image is empty" in refused.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_video_is_read_as_a_file_and_refused_by_a_model_that_takes_none(page_server, kind):
    film = video()
    body = {"files": {"video": ("a.mp4", film)}} if kind == "form" else {"json": {"video": FORMS["plain"](film)}}
    refused = predict(page_server, "caption", **body)
    assert refused.status_code == 422
    assert refused.json()["error"]["message"] == "unknown input 'video'; this model takes image"
