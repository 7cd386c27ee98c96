"""The service: what it answers is what the evaluation said; what it refuses, it refuses in words."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.base.errors import InputError
from stages.base.store import PREDICTIONS
from stages.media.audio import decode_audio
from stages.models.tables import read_rows
from stages.params import load_params
from stages.serve import command
from tests.conftest import PROJECT
from tests.media.test_audio import encode as encode_wav
from tests.support.running import Running, serving, wait_until
from tests.support.small_data import encode, make_image, sound

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = list[dict[str, Any]]
ALL = ["sample_id", "image", "audio", "texts", "message", "questions"]


def raw_rows(server: Running) -> Rows:
    return read_rows(server.project / "artifacts/prepare/scenes", "test", ALL)


def predictions(server: Running, name: str) -> dict[str, list[Any]]:
    return pq.read_table(server.project / f"artifacts/evaluate/{name}" / PREDICTIONS).to_pydict()


def ask(server: Running, name: str, query: str = "", /, **given: bytes | str) -> httpx.Response:
    files = {key: (None if isinstance(value, str) else f"a.{key}", value) for key, value in given.items()}
    return httpx.post(f"{server.url}/models/{name}/predict{query}", files=files, timeout=60)


def ask_many(server: Running, name: str, samples: list[dict[str, bytes | str]]) -> list[dict[str, Any]]:
    """Ask at once, so that requests share batches."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda sample: ask(server, name, **sample), samples))
    assert [response.status_code for response in found] == [200] * len(samples), found[0].text
    return [response.json()["answer"] for response in found]


def test_captions_are_those_of_the_evaluation(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "caption")
    answers = ask_many(page_server, "caption", [{"image": row["image"]} for row in rows])
    assert [answer["caption"] for answer in answers] == wanted["caption"]
    np.testing.assert_allclose([answer["score"] for answer in answers], wanted["score"], atol=1e-4)


def test_labels_are_those_of_the_evaluation(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "classify")
    samples = [{"image": row["image"], "audio": row["audio"], "text": row["message"]} for row in rows]
    answers = ask_many(page_server, "classify", samples)
    assert [answer["label"] for answer in answers] == wanted["label"]
    np.testing.assert_allclose([answer["probability"] for answer in answers], wanted["probability"], atol=1e-4)


def test_answers_to_questions_are_those_of_the_evaluation(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "vqa")
    samples = [{"image": row["image"], "question": question} for row in rows for question in row["questions"]]
    answers = ask_many(page_server, "vqa", samples)
    assert [answer["answer"] for answer in answers] == wanted["answer"]
    for answer in answers[:3]:
        best = answer["probabilities"].index(max(answer["probabilities"]))
        assert answer["classes"][best] == answer["answer"]


def test_matches_and_translations_are_those_of_the_evaluation(page_server):
    rows = raw_rows(page_server)
    samples = [{"image": row["image"], "text": row["message"]} for row in rows]
    found = ask_many(page_server, "match", samples)
    wanted = predictions(page_server, "match")
    assert [answer["match"] for answer in found] == wanted["match"]
    np.testing.assert_allclose([answer["probability"] for answer in found], wanted["probability"], atol=1e-4)
    found = ask_many(page_server, "translate", [{"image": row["image"]} for row in rows])
    assert [answer["label"] for answer in found] == predictions(page_server, "translate")["image_to_text"]


def test_numbers_and_tags_are_those_of_the_evaluation(page_server):
    samples = [{"image": row["image"], "text": row["message"]} for row in raw_rows(page_server)]
    numbers, wanted = ask_many(page_server, "regress", samples), predictions(page_server, "regress")
    for key, column in {"numbers": "predicted", "low": "low", "high": "high"}.items():
        np.testing.assert_allclose([answer[key] for answer in numbers], wanted[column], rtol=1e-4)
    assert {tuple(answer["names"]) for answer in numbers} == {("cover", "worth")}
    found, wanted = ask_many(page_server, "tag", samples), predictions(page_server, "tag")
    np.testing.assert_allclose([answer["probabilities"] for answer in found], wanted["probabilities"], atol=1e-5)
    assert [sorted(answer["tags"]) for answer in found] == wanted["tags"]


def test_pictures_are_those_of_the_evaluation_by_their_seed(page_server):
    wanted = predictions(page_server, "generate")
    pairs = zip(wanted["asked"], wanted["seed"], strict=True)
    found = ask_many(page_server, "generate", [{"text": text, "seed": str(seed)} for text, seed in pairs])
    for answer, image in zip(found, wanted["image"], strict=True):
        served, made = (Image.open(io.BytesIO(data)) for data in (base64.b64decode(answer["images"][0]), image))
        assert np.abs(np.asarray(served).astype(int) - np.asarray(made)).max() <= 1
    body = {"text": wanted["asked"][0], "seed": wanted["seed"][0], "count": 3}
    several = httpx.post(f"{page_server.url}/models/generate/predict", json=body, timeout=60).json()["answer"]
    assert len(set(several["images"])) == 3 and several["seed"] == wanted["seed"][0]
    refused = httpx.post(f"{page_server.url}/models/generate/predict", json=body | {"count": 17}, timeout=60)
    assert refused.status_code == 422 and "count: got '17'" in refused.json()["error"]["message"]
    assert ask(page_server, "generate", image=wanted["image"][0], text="a ring").status_code == 422


def test_transcripts_are_those_of_the_evaluation(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "transcribe")
    answers = ask_many(page_server, "transcribe", [{"audio": row["audio"]} for row in rows])
    assert [answer["transcript"] for answer in answers] == wanted["transcript"]
    assert [answer["starts_s"] for answer in answers] == wanted["starts_s"]
    assert len({answer["transcript"] for answer in answers}) > 3  # it has learnt something: else this shows little


def test_labels_of_videos_are_those_of_the_evaluation_and_frames_are_told_where_asked(page_server):
    rows = read_rows(page_server.project / "artifacts/prepare/clips", "test", ["video"])
    wanted = predictions(page_server, "film")
    answers = ask_many(page_server, "film", [{"video": row["video"]} for row in rows])
    assert [answer["label"] for answer in answers] == wanted["label"]
    np.testing.assert_allclose([answer["probability"] for answer in answers], wanted["probability"], atol=1e-4)
    assert "frames" not in answers[0]
    looked = ask(page_server, "film", "?attention=true", video=rows[0]["video"]).json()["answer"]
    assert len(looked["frames"]) == 6 and looked["frame_seconds"] == pytest.approx(0.2) and any(looked["frames"])


def test_what_a_user_would_like_is_told_by_name_by_liked_items_or_by_a_text(page_server):
    url = f"{page_server.url}/models/likes/predict"
    rows = read_rows(page_server.project / "artifacts/prepare/rated", "train", ["sample_id", "rating_users"])
    names = sorted({name for row in rows for name in row["rating_users"]})
    known = {row["sample_id"] for row in rows if names[0] in row["rating_users"]}
    asked: list[dict[str, Any]] = [{"user": names[0]}, {"liked": sorted(known)[:3]}, {"text": "a red circle"}]
    answers = [httpx.post(url, json=body).json()["answer"] for body in asked]
    for answer in answers:
        assert len(answer["items"]) == 10 and answer["scores"] == sorted(answer["scores"], reverse=True)
    assert not known & set(answers[0]["items"]) and not set(asked[1]["liked"]) & set(answers[1]["items"])
    form = httpx.post(url, files={"liked": (None, ", ".join(asked[1]["liked"]))}).json()["answer"]
    assert form["items"] == answers[1]["items"]
    refused = httpx.post(url, json={"user": "nobody"})
    assert refused.status_code == 422 and "user 'nobody' is not known; such as" in refused.json()["error"]["message"]


def test_items_are_looked_for_by_title_and_shown_as_they_look(page_server):
    rows = read_rows(page_server.project / "artifacts/prepare/rated", "train", ["sample_id", "image", "texts", "audio"])
    url = f"{page_server.url}/models/likes"
    found = httpx.get(f"{url}/items", params={"search": "SCENE-0000000", "limit": 100}).json()["items"]
    by_id = {item["item"]: item for item in found}
    assert {f"scene-0000000{i}" for i in range(8)} <= by_id.keys()
    for row in rows[:6]:
        item = by_id[row["sample_id"]]
        assert item["text"] == next(iter(row["texts"] or ()), None)
        for medium in ("image", "audio"):
            assert bool(item[medium]) == bool(row[medium])
            if item[medium]:
                assert httpx.get(page_server.url + item[medium]).content == row[medium]  # both small
    answer = httpx.post(f"{url}/predict", json={"liked": ["scene-00000000", "scene-00000001"]}).json()["answer"]
    assert [set(look) for look in answer["looks"]] == [{"text", "image", "audio"}] * 10
    assert all(part.keys() <= {"image", "text", "number", "liked"} and part for part in answer["parts"])
    assert len(httpx.get(f"{url}/items").json()["items"]) == 12
    assert httpx.get(f"{url}/items?search={'a' * 201}").status_code == 422
    other = httpx.get(f"{page_server.url}/models/caption/items")
    assert other.status_code == 422 and other.json()["error"]["code"] == "no_items"
    cards = {card["name"]: card["num_items"] for card in httpx.get(f"{page_server.url}/models").json()["models"]}
    assert cards["likes"] == 80 and cards["caption"] is None


def test_a_voice_is_enough_for_a_model_of_words_that_another_writes_down(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "hear")
    answers = ask_many(page_server, "hear", [{"audio": row["audio"]} for row in rows])
    assert [answer["label"] for answer in answers] == wanted["label"]
    np.testing.assert_allclose([answer["probability"] for answer in answers], wanted["probability"], atol=1e-4)
    heard = predictions(page_server, "transcribe")["transcript"]  # by a search; the text that is read is not
    given = ask_many(page_server, "hear", [{"audio": row["audio"], "text": "red ring"} for row in rows[:4]])
    assert len({round(answer["probability"], 4) for answer in given}) == 1 < len(set(heard))
    nothing = httpx.post(f"{page_server.url}/models/hear/predict", json={})
    assert nothing.status_code == 422 and "give one or more of text, audio" in nothing.json()["error"]["message"]


def test_a_long_sound_is_told_part_by_part_and_as_a_whole(page_server):
    sounds = [decode_audio(row["audio"], 8000) for row in raw_rows(page_server)[:6]]
    long = encode_wav(np.concatenate(sounds))
    whole = ask(page_server, "transcribe", audio=long).json()["answer"]
    body = {"audio": ("a.wav", long)}
    with httpx.stream("POST", f"{page_server.url}/models/transcribe/stream", files=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        told = response.read().decode().split("\n\n")
    events = [tuple(line.partition(": ")[2] for line in event.splitlines()) for event in told]
    named = [(event[0], json.loads(event[1])) for event in events if len(event) == 2]
    assert [name for name, _ in named] == ["part"] * (len(named) - 1) + ["answer"] and len(named) > 4
    assert named[-1][1]["answer"] == whole | {"probabilities": pytest.approx(whole["probabilities"], abs=1e-4)}
    assert [word for name, part in named[:-1] for word in part["spoken"]] == whole["spoken"]
    assert whole["starts_s"] == sorted(whole["starts_s"]) and whole["ends_s"][-1] > 3


def test_what_cannot_be_streamed_is_refused_as_it_is_otherwise(page_server):
    url = f"{page_server.url}/models/transcribe/stream"
    bad = httpx.post(url, files={"audio": ("a.wav", b"<html>404</html>")})
    assert bad.status_code == 422 and "audio does not decode" in bad.json()["error"]["message"]
    assert httpx.post(url, json={"image": ""}).json()["error"]["code"] == "unusable_input"
    plain = httpx.post(f"{page_server.url}/models/classify/stream", json={"text": "never go there"})
    assert plain.text.count("event: part") == plain.text.count("event: answer") == 1


def test_vectors_rank_as_in_the_evaluation(page_server):
    rows, wanted = raw_rows(page_server), predictions(page_server, "retrieve")
    queries = ask_many(page_server, "retrieve", [{"image": row["image"]} for row in rows])
    assert all(answer["target"] is None for answer in queries)
    texts = [(i, text) for i, row in enumerate(rows) for text in row["texts"]]
    targets = ask_many(page_server, "retrieve", [{"text": text} for _, text in texts])
    likeness = np.array([q["query"] for q in queries]) @ np.array([t["target"] for t in targets]).T
    owners = np.array([i for i, _ in texts])
    best = np.array([likeness[i, owners == i].max() for i in range(len(rows))])
    ranks = 1 + (likeness > best[:, None]).sum(1)
    assert np.mean(ranks == wanted["query_rank"]) > 0.9  # equal similarities may change places


def test_a_form_and_json_give_the_same_answer(page_server):
    row = raw_rows(page_server)[0]
    form = ask(page_server, "classify", image=row["image"], text="never go there").json()["answer"]
    sent = {"image": base64.b64encode(row["image"]).decode(), "text": "never go there", "audio": None}
    response = httpx.post(f"{page_server.url}/models/classify/predict", json=sent)
    assert response.json()["answer"] == form


def test_attention_comes_when_it_is_asked_for(page_server):
    image = raw_rows(page_server)[0]["image"]
    plain = ask(page_server, "caption", image=image).json()["answer"]
    assert plain.keys() == {"caption", "score", "words", "word_probabilities"}
    answer = ask(page_server, "caption", "?attention=true", image=image).json()["answer"]
    rows, columns = answer["grid"]
    assert [len(weights) for weights in answer["attention"]] == [rows * columns] * len(answer["words"])


def test_every_combination_of_given_modalities_is_answered_or_refused_in_words(page_server):
    row = raw_rows(page_server)[0]
    given = {"image": row["image"], "audio": row["audio"], "text": row["message"]}
    for left_out in given:
        rest = {key: value for key, value in given.items() if key != left_out}
        assert ask(page_server, "classify", **rest).status_code == 200
        assert ask(page_server, "classify", **{left_out: given[left_out]}).status_code == 200
    error = ask(page_server, "vqa", image=row["image"])
    assert error.status_code == 422 and "question is missing" in error.json()["error"]["message"]


def test_a_model_card_says_what_it_takes_and_where_it_comes_from(page_server):
    cards = {card["name"]: card for card in httpx.get(f"{page_server.url}/models").json()["models"]}
    assert list(cards) == [
        *(
            "caption",
            "classify",
            "film",
            "generate",
            "hear",
            "likes",
            "match",
            "offer",
            "regress",
            "retrieve",
            "tag",
            "transcribe",
        ),
        *("translate", "vqa"),
    ]
    vqa = cards["vqa"]
    assert [(found["name"], found["required"]) for found in vqa["inputs"]] == [("image", False), ("question", True)]
    assert vqa["version"] == "1" and vqa["alias"] == "champion" and vqa["score"]["metric"] == "accuracy"
    assert {"git_commit", "dvc_lock", "data", "params", "environment"} <= vqa["lineage"].keys()
    assert [name for name, card in cards.items() if card["searchable"]] == ["retrieve"]


def test_search_finds_a_samples_own_image_and_texts(page_server):
    row = raw_rows(page_server)[3]

    def search(**given: Any) -> dict[str, Any]:
        files = {key: (None if isinstance(value, str) else "a", value) for key, value in given.items()}
        return httpx.post(f"{page_server.url}/models/retrieve/search?limit=5", files=files, timeout=60).json()

    by_text = search(text=row["texts"][0])
    assert by_text["looked_for"] == "image" and len(by_text["results"]) == 5
    similarities = [result["similarity"] for result in by_text["results"]]
    assert similarities == sorted(similarities, reverse=True)
    first = by_text["results"][0]
    image = httpx.get(page_server.url + first["image"])
    assert image.headers["content-type"] == "image/png"
    assert image.content == next(r["image"] for r in raw_rows(page_server) if r["sample_id"] == first["sample_id"])
    by_image = search(image=row["image"])
    assert by_image["looked_for"] == "text" and by_image["results"][0]["text"] in by_image["results"][0]["texts"]


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few hundred kilobytes."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**8), 9))


def long_gif() -> bytes:
    one = encode(make_image(0, (8, 8)), "GIF")
    start = 13 + 3 * 2 ** ((one[10] & 7) + 1)  # behind the header and the table of colours
    return one[:start] + one[start:-1] * 10_000 + b";"


def lying_wav() -> bytes:
    data = bytearray(sound())
    data[40:44] = (2**30).to_bytes(4, "little")  # the size of the data chunk
    return bytes(data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
HOSTILE = {
    "a decompression bomb": ("caption", {"image": bomb}, "pixels"),
    "a gif of 10,000 frames": ("caption", {"image": long_gif}, "frames"),
    "a wav with a lying header": ("classify", {"audio": lying_wav}, "cut short"),
    "svg": ("caption", {"image": lambda: SVG}, "does not decode"),
    "eps": ("caption", {"image": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, "does not decode"),
    "an empty part": ("caption", {"image": lambda: b""}, "image is empty"),
    "an empty question": ("vqa", {"question": lambda: "  "}, "question is missing"),
    "text that is not UTF-8": ("vqa", {"question": lambda: b"what \xff\xfe"}, "not UTF-8"),
    "text without a word": ("vqa", {"question": lambda: "?!"}, "no word"),
    "a text too long": ("vqa", {"question": lambda: "a " * 10_000}, "at most 10000"),
    "a text where an image belongs": ("caption", {"image": lambda: "/etc/passwd"}, "does not decode"),
    "an input of another model": ("caption", {"question": lambda: "what"}, "unknown input"),
    "sound as an image": ("caption", {"image": sound}, "does not decode"),
    "an image as sound": ("classify", {"audio": lambda: encode(make_image())}, "does not decode"),
    "zeros": ("caption", {"image": lambda: bytes(10**6)}, "does not decode"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_used_is_refused_in_words(page_server, case):
    name, parts, wanted = HOSTILE[case]
    response = ask(page_server, name, **{key: make() for key, make in parts.items()})
    assert response.status_code == 422
    assert wanted in response.json()["error"]["message"]
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]


BAD_BODIES = {
    "no type": ({}, b"abc", 415),
    "another type": ({"content-type": "text/plain"}, b"abc", 415),
    "a form of a browser's old kind": ({"content-type": "application/x-www-form-urlencoded"}, b"image=1", 415),
    "a form without boundary": ({"content-type": "multipart/form-data"}, b"--x\r\n", 400),
    "a form cut short": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
        400,
    ),
    "an empty form": ({"content-type": "multipart/form-data; boundary=x"}, b"", 400),
    "a part given twice": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n' * 2 + b"--x--\r\n",
        422,
    ),
    "json cut short": ({"content-type": "application/json"}, b'{"image": "', 400),
    "json too deep": ({"content-type": "application/json"}, b"[" * 200_000, 400),
    "json that is not utf-8": ({"content-type": "application/json"}, b'{"image": "\xff"}', 400),
    "a list": ({"content-type": "application/json"}, b"[]", 422),
    "a number": ({"content-type": "application/json"}, b'{"image": 1}', 422),
    "half a character": ({"content-type": "application/json"}, b'{"question": "\\ud800"}', 422),
    "a path": ({"content-type": "application/json"}, b'{"image": "/etc/passwd"}', 422),
    "an address": ({"content-type": "application/json"}, b'{"image": "http://127.0.0.1/x.png"}', 422),
    "nothing": ({"content-type": "application/json"}, b"{}", 422),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_body_that_cannot_be_read_is_refused_in_words(page_server, case):
    headers, body, status = BAD_BODIES[case]
    name = "vqa" if b"question" in body else "caption"
    response = httpx.post(f"{page_server.url}/models/{name}/predict", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


def test_unknown_paths_methods_and_queries_are_refused_in_words(page_server):
    assert httpx.get(f"{page_server.url}/no/such").status_code == 404
    assert httpx.delete(f"{page_server.url}/models").status_code == 405
    missing = httpx.post(f"{page_server.url}/models/none/predict", json={})
    assert missing.status_code == 404 and "there are: caption, classify" in missing.json()["error"]["message"]
    wrong = httpx.post(f"{page_server.url}/models/retrieve/search?limit=0", json={"text": "a"})
    assert wrong.status_code == 422 and wrong.json()["error"]["message"].startswith("limit:")
    other = httpx.post(f"{page_server.url}/models/caption/search", json={})
    assert other.status_code == 422 and other.json()["error"]["code"] == "not_searchable"
    assert httpx.get(f"{page_server.url}/models/retrieve/gallery/..%2F..%2Fparams.yaml/image").status_code == 404


def test_the_docs_page_asks_nobody_else(page_server):
    page = httpx.get(f"{page_server.url}/docs")
    assert page.status_code == 200 and "https://" not in page.text and "swagger" in page.text


def test_metrics_and_request_ids_tell_what_happened(page_server):
    image = raw_rows(page_server)[0]["image"]
    response = httpx.post(
        f"{page_server.url}/models/caption/predict",
        files={"image": image},
        headers={"x-request-id": "mine-1"},
    )
    assert response.headers["x-request-id"] == response.json()["request_id"] == "mine-1"
    odd = httpx.get(f"{page_server.url}/health", headers={"x-request-id": "a b" * 99})
    assert len(odd.headers["x-request-id"]) == 32
    text = httpx.get(f"{page_server.url}/metrics").text
    assert 'fuseline_requests_total{model="caption",status="200"}' in text
    assert 'fuseline_model_version{model="caption"} 1.0' in text


# Servers with limits of their own


@pytest.fixture
def store(every_task: Path) -> Path:
    """The project of every task as the current folder, its tracking store in use."""
    return every_task


def raw_request(url: str, head: bytes, body: bytes = b"") -> bytes:
    """Send bytes as they are; return all that comes back until the server ends the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head + body)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_bodies_too_large_are_refused_before_they_are_read(store):
    with serving(store, models=["models:/classify@champion"], max_body_mb=0.1, max_seconds=2.0) as server:
        head = b"POST /models/classify/predict HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=x\r\n"
        announced = raw_request(server.url, head + b"content-length: 10000000000\r\n\r\n")
        assert announced.startswith(b"HTTP/1.1 413 ") and b"larger than 0.1 MB" in announced
        # a form that is well so far: what is wrong with it is its size alone, however the chunks arrive
        field = b'--x\r\ncontent-disposition: form-data; name="text"\r\n\r\n'
        parts = [field, *[b"a" * 0x8000] * 8]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        assert raw_request(server.url, head + b"transfer-encoding: chunked\r\n\r\n", chunks).startswith(
            b"HTTP/1.1 413 "
        )
        slow = raw_request(server.url, head + b"content-length: 100\r\n\r\n", b"--x")
        assert slow.startswith(b"HTTP/1.1 408 ") and b"did not arrive in time" in slow
        assert raw_request(server.url, b"POST /models").startswith(b"HTTP/1.1 408 ")
        assert raw_request(server.url, b"").startswith(b"HTTP/1.1 408 ")
        assert ask(server, "classify", text="still alive").status_code == 200


def test_a_full_queue_turns_requests_away_for_a_moment(store):
    with serving(store, models=["models:/caption@champion"], max_queue=2, max_batch=1) as server:
        image = raw_rows(server)[0]["image"]
        with ThreadPoolExecutor(24) as pool:
            found = list(pool.map(lambda _: ask(server, "caption", image=image), range(72)))
        assert {response.status_code for response in found} == {200, 503}
        away = next(response for response in found if response.status_code == 503)
        assert int(away.headers["retry-after"]) >= 1 and "too many requests wait" in away.json()["error"]["message"]
        assert ask(server, "caption", image=image).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(store):
    with serving(store, models=["models:/classify@champion"], max_seconds=0.5) as server:
        version = server.models.get("classify").version
        answer = version.predictor.answer
        version.predictor.answer = lambda batch: (time.sleep(0.8), answer(batch))[1]
        response = ask(server, "classify", text="hello there")
        assert response.status_code == 503 and response.json()["error"]["code"] == "too_slow"


def test_a_defect_is_told_by_its_request_id_alone(store, caplog):
    with serving(store, models=["models:/classify@champion"]) as server:
        server.models.get("classify").version.predictor.answer = lambda batch: 1 / 0
        response = ask(server, "classify", text="hello there")
        assert response.status_code == 500 and "division" not in response.text
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_token_is_wanted_where_one_is_set(store):
    with serving(store, token="secret-1", models=["models:/classify@champion"]) as server:
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert httpx.get(f"{server.url}/").status_code == 200
        assert httpx.get(f"{server.url}/page.css").status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            refused = httpx.get(f"{server.url}/models", headers=headers)
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        for path in ("metrics", "models/classify/gallery/0/image", "models.js"):
            assert httpx.get(f"{server.url}/{path}").status_code == 401, path
        assert httpx.get(f"{server.url}/models", headers={"authorization": "Bearer secret-1"}).status_code == 200


def test_the_docs_of_a_server_with_a_token_are_open_and_take_it(store):
    with serving(store, token="secret-1", models=["models:/classify@champion"]) as server:
        assert httpx.get(f"{server.url}/docs").status_code == 200
        document = httpx.get(f"{server.url}/openapi.json").json()
        (scheme,) = document["components"]["securitySchemes"].items()
        assert scheme == ("HTTPBearer", {"type": "http", "scheme": "bearer"})
        guarded = {path for path, item in document["paths"].items() if "security" in next(iter(item.values()))}
        assert guarded == document["paths"].keys() - {"/health", "/ready"}


# Aliases that move


def second_version(name: str, code: str = "") -> str:
    """Register the model of the project once more and return its number; `code` is added to its own code."""
    from stages.base.tracking import client
    from stages.packaging.logged_model import create_version, log_run

    params = load_params()
    version = create_version(client(), params, name, log_run(client(), params, name))
    if code:
        place = f"*{version.source.rsplit('/', 1)[-1]}*/**/code/stages/packaging/predictor.py"
        [changed] = Path("artifacts/mlflow").rglob(place)
        changed.write_text(changed.read_text() + code)
    return str(version.version)


def move(name: str, version: str) -> None:
    from stages.base.tracking import client

    client().set_registered_model_alias(name, "champion", version)


@pytest.fixture
def own_store(project: Path) -> Path:
    """A project of its own with a registered caption model."""
    from stages import register

    register.run(load_params(), "caption")
    return project


def test_a_moved_alias_is_followed_and_no_request_is_lost(own_store):
    other = second_version("caption")
    with serving(own_store) as server:
        image = raw_rows(server)[0]["image"]
        stop, seen = threading.Event(), []

        def client() -> None:
            with httpx.Client(timeout=60) as session:
                while not stop.is_set():
                    response = session.post(f"{server.url}/models/caption/predict", files={"image": image})
                    seen.append((response.status_code, response.json().get("version")))

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(seen) > 20)
        move("caption", other)
        wait_until(lambda: seen[-1][1] == other)
        move("caption", "1")
        wait_until(lambda: seen[-1][1] == "1")
        stop.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in seen} == {200}
        assert {version for _, version in seen} == {"1", other}


def test_each_version_answers_with_its_own_code(own_store):
    marked = """
class Predictor(Predictor):  # a later version does something else
    def answer(self, read):
        return [found | {"caption": "of another code"} for found in super().answer(read)]
"""
    other = second_version("caption", marked)
    with serving(own_store, models=["models:/caption/1"]) as server:
        image = raw_rows(server)[0]["image"]
        before = ask(server, "caption", image=image).json()["answer"]
    with serving(own_store, models=[f"models:/caption/{other}"]) as server:
        assert ask(server, "caption", image=image).json()["answer"]["caption"] == "of another code"
    with serving(own_store, models=["models:/caption/1"]) as server:
        assert ask(server, "caption", image=image).json()["answer"] == before


def test_a_broken_version_does_not_take_the_place_of_one_that_works(own_store, caplog):
    other = second_version("caption", "\nraise RuntimeError('broken on purpose')\n")
    with serving(own_store) as server:
        image = raw_rows(server)[0]["image"]
        move("caption", other)
        wait_until(lambda: "broken on purpose" in caplog.text)
        assert ask(server, "caption", image=image).json()["version"] == "1"


def test_versions_go_on_answering_while_the_registry_is_away(own_store, caplog):
    from mlflow import MlflowClient

    with serving(own_store) as server:
        image = raw_rows(server)[0]["image"]
        server.models._client = MlflowClient("http://127.0.0.1:9", "http://127.0.0.1:9")  # nobody listens there
        wait_until(lambda: "registry does not answer" in caplog.text)
        assert ask(server, "caption", image=image).status_code == 200
        assert "fuseline_registry_up 0.0" in httpx.get(f"{server.url}/metrics").text


# The command


@pytest.mark.parametrize(
    "given, wanted",
    [
        (["--model", "models:/none@champion"], "no model of this name"),
        (["--model", "models:/caption@nobody"], "no version is nobody"),
        (["--model", "models:/caption/99"], "no such version"),
        (["--model", "caption"], "expected models:/<name>@<alias>"),
        (["--port", "99999"], "serve.port: got 99999"),
        (["--host", "203.0.113.1", "--model", "models:/caption@champion"], "cannot listen on 203.0.113.1"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(store, given, wanted):
    with pytest.raises(InputError, match=wanted):
        command(given)


def test_the_command_serves_logs_in_json_and_drains_at_sigterm(store):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "FUSELINE_TOKEN": "secret-2"}
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.serve", "--port", "0", "--model", "models:/caption@champion"],
        cwd=store,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["message"].split()[0]
    wait_until(lambda: httpx.get(f"{url}/ready").status_code == 200)
    image = read_rows(store / "artifacts/prepare/scenes", "test", ALL)[0]["image"]
    with ThreadPoolExecutor(8) as pool:
        asking = [
            pool.submit(
                httpx.post,
                f"{url}/models/caption/predict",
                files={"image": image},
                headers={"authorization": "Bearer secret-2"},
                timeout=60,
            )
            for _ in range(8)
        ]
        wait_until(
            lambda: (
                "fuseline_requests_open"
                in httpx.get(f"{url}/metrics", headers={"authorization": "Bearer secret-2"}).text
            )
        )
        process.send_signal(signal.SIGTERM)
        statuses = []
        for request in asking:
            try:
                statuses.append(request.result().status_code)
            except (httpx.ConnectError, httpx.ReadError):  # not accepted before the server stopped to listen
                statuses.append(0)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM and set(statuses) <= {200, 0} and 200 in statuses
    lines = [json.loads(line) for line in rest.splitlines()]
    served = [line["status"] for line in lines if line["message"] == "request" and line["path"].endswith("/predict")]
    assert served == [200] * statuses.count(200)  # what was accepted was answered
    assert "secret-2" not in rest


def test_help_does_not_wait_for_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stages.serve", "--help"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0 and "--model" in done.stdout
    assert " torch" not in done.stderr and " mlflow" not in done.stderr


def test_requests_that_come_together_share_a_batch_and_one_alone_does_not_wait():
    from stages.serving.batcher import Batcher

    sizes: list[int] = []

    async def answer(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        await asyncio.sleep(0.02)
        return [2 * item for item in batch]

    async def one(batcher: Batcher[int, int], item: int) -> int:
        with batcher.request() as arrived:
            await asyncio.sleep(0)
            asked = asyncio.ensure_future(batcher.ask(item))
            await asyncio.sleep(0)
            arrived()
            return await asked

    async def main() -> None:
        batcher = Batcher(answer, max_batch=4, max_wait_s=5.0)
        batcher.start()
        assert await asyncio.wait_for(one(batcher, 1), 1.0) == 2
        assert await asyncio.gather(*(one(batcher, i) for i in range(10))) == [2 * i for i in range(10)]
        await batcher.close()

    asyncio.run(main())
    assert sizes[0] == 1 and sum(sizes) == 11 and max(sizes) == 4 and len(sizes) <= 5


def test_a_batch_that_fails_is_told_to_all_of_it_and_the_next_is_answered():
    from stages.serving.batcher import Batcher

    async def answer(batch: list[int]) -> list[int]:
        if 0 in batch:
            raise ValueError("zero")
        return batch

    async def one(batcher: Batcher[int, int], item: int) -> int:
        with batcher.request() as arrived:
            arrived()
            return await batcher.ask(item)

    async def main() -> None:
        batcher = Batcher(answer, max_batch=4, max_wait_s=0.01)
        batcher.start()
        with pytest.raises(ValueError, match="zero"):
            await one(batcher, 0)
        assert await one(batcher, 1) == 1
        await batcher.close()

    asyncio.run(main())
