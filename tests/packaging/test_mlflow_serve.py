"""A registered version behind MLflow's own server, from a folder that has nothing to do with the project."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages.base.store import PREDICTIONS, artifact_path
from stages.packaging.served_model import spread

START_S = 120


@pytest.fixture
def vqa_server(every_task: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    script = str(Path(sys.executable).with_name("mlflow"))
    command = [script, "models", "serve", "-m", "models:/vqa@champion", "--env-manager", "local", "-p", str(port)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log.txt").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def ask(url: str, **body: Any) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["predictions"]


def refusal(url: str, **body: Any) -> str:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, **body)
    assert refused.value.code == 400
    return refused.value.read().decode()


def test_every_form_of_request_gets_the_answers_of_the_evaluation(vqa_server: str, every_task: Path, tmp_path: Path):
    table = pq.read_table(artifact_path("evaluate", "vqa") / PREDICTIONS).to_pylist()
    rows = pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet").to_pylist()[:3]
    images = [base64.b64encode(row["image"]).decode() for row in rows]
    samples = [{"image": image, "question": row["questions"][0]} for image, row in zip(images, rows, strict=True)]
    wanted = [next(found for found in table if found["sample_id"] == row["sample_id"]) for row in rows]
    columns = {key: [sample[key] for sample in samples] for key in ("image", "question")}
    split = {"columns": list(columns), "data": [list(sample.values()) for sample in samples]}
    forms = [{"dataframe_records": samples}, {"dataframe_split": split}, {"inputs": samples}, {"inputs": columns}]
    for form in forms:
        answers = ask(vqa_server, **form)
        assert [answer["answer"] for answer in answers] == [found["answer"] for found in wanted], form.keys()
        probabilities = [found["probability"] for found in wanted]
        assert [answer["probability"] for answer in answers] == pytest.approx(probabilities, abs=1e-4)

    without_image = ask(vqa_server, dataframe_records=[{"question": samples[0]["question"]}])
    assert 0 < without_image[0]["probability"] < 1 and without_image[0]["probability"] != wanted[0]["probability"]
    picture = tmp_path / "picture.png"
    picture.write_bytes(rows[0]["image"])
    refused = "image: expected encoded bytes or base64 text, got "
    assert refused in refusal(vqa_server, dataframe_records=[samples[0] | {"image": str(picture)}])
    assert "Model is missing inputs ['question']" in refusal(vqa_server, dataframe_records=[{"image": images[0]}])
    uneven = refusal(vqa_server, inputs=columns | {"question": columns["question"][:2]})
    assert "expected as many values in each column, got image 3, question 2" in uneven


def test_columns_of_texts_are_samples_and_a_text_beside_them_is_of_each():
    assert spread({"image": "a", "text": None}) == [{"image": "a", "text": None}]
    both = [{"image": "a", "question": "q"}, {"image": "b", "question": "q"}]
    assert spread({"image": ["a", "b"], "question": "q"}) == both
    assert spread({"image": []}) == []
