"""What is found by an index over HTTP is what exact search finds; versions say how they are searched."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from stages import register
from stages.base.errors import InputError
from stages.base.store import PREDICTIONS, artifact_path
from stages.base.tracking import client
from stages.models.tasks.recommend.shelf import SHELF
from stages.packaging.gallery import Gallery, write_gallery
from stages.packaging.predictor import Predictor, open_model
from stages.params import Params
from tests.conftest import OTHER_TASKS, SMALL, working_in
from tests.support.running import Running, serving
from tests.support.small_data import make_params

MANY = {
    "register.exact_below": 20,
    "register.index_recall": 0.95,
    "register.gallery_splits": ["train", "val", "test"],
    "register.gallery_samples": 150,
}
NOT_COPIED = shutil.ignore_patterns("mlflow", "register", "locks")


@pytest.fixture(scope="module")
def large(project_of_every_task: Path, made_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose versions of `retrieve` and `likes` have an index."""
    root = Path(shutil.copytree(project_of_every_task, tmp_path_factory.mktemp("large") / "p", ignore=NOT_COPIED))
    with working_in(root), pytest.MonkeyPatch.context() as patch:
        Path("artifacts/mlflow").mkdir()
        shutil.copyfile(made_store, "artifacts/mlflow/mlflow.db")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/artifacts/mlflow/mlflow.db")
        params = make_params(root, SMALL | OTHER_TASKS | MANY)
        for name in ("retrieve", "likes"):
            register.run(params, name)
        with serving(root) as running:
            yield running


def predictor_of(params: Params, name: str) -> Predictor:
    settings = {"base": params.base.model_dump(), "evaluate": params.evaluate.model_dump(exclude={"recogniser"})}
    limits = {"max_image_megapixels": 1.0, "max_audio_seconds": 60.0}
    return open_model(artifact_path("train", name), settings | limits)


def test_search_over_http_finds_by_an_index_what_is_found_exactly(large, tmp_path):
    params = make_params(tmp_path, SMALL | OTHER_TASKS | MANY | {"register.exact_below": 10**6})
    assert write_gallery(params, "retrieve", tmp_path / "gallery") == {}
    predictor = predictor_of(params, "retrieve")
    exact = Gallery(tmp_path / "gallery", predictor)
    rows = pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet").to_pylist()
    alike = []
    for given in [{"text": row["texts"][0].encode()} for row in rows] + [{"image": row["image"]} for row in rows]:
        answer = httpx.post(f"{large.url}/models/retrieve/search?limit=5", files=given, timeout=60).json()
        looked_for, wanted = exact.search(predictor.predict([given])[0], set(given), 5)
        found = {result["sample_id"]: result["similarity"] for result in answer["results"]}
        assert answer["looked_for"] == looked_for and len(found) == len(wanted) == 5
        near = np.array([result["similarity"] for result in wanted])  # so small a model finds many alike
        alike.append(np.mean(np.abs(near - list(found.values())) < 1e-4))
        for result in wanted:
            assert found.get(result["sample_id"], result["similarity"]) == pytest.approx(result["similarity"], abs=1e-4)
        first = answer["results"][0]
        assert (first["image"] is not None) and first["text"] in (first["texts"] if "image" in given else [None])
    assert np.mean(alike) > 0.95


def test_users_are_advised_by_an_index_what_is_best(large):
    params = make_params(large.project, SMALL | OTHER_TASKS | MANY)
    exact = predictor_of(params, "likes")
    shelf = exact.task.shelf
    assert shelf is not None and shelf.placed.index is None
    alike = []
    for user in shelf.users.first("name", 12):
        answer = httpx.post(f"{large.url}/models/likes/predict", json={"user": user}, timeout=60).json()["answer"]
        (wanted,) = exact.predict([{"user": user.encode()}])
        assert len(answer["items"]) == len(wanted["items"]) == 10
        alike.append(np.isin(wanted["items"], answer["items"]).mean())
        known = [shelf.items[place]["id"] for place in shelf.users[shelf.users.find("name", user)]["seen"]]
        assert known and not set(known) & set(answer["items"])
    assert np.mean(alike) > 0.8  # of so few items a user knows a third, and the lists looked into are one or two


def test_a_version_says_how_it_is_searched(large):
    cards = {card["name"]: card for card in httpx.get(f"{large.url}/models").json()["models"]}
    told = {key: text for name in cards for key, text in cards[name]["lineage"].items() if key.startswith("search.")}
    sizes = {key: text.partition(" by an index, recall@10 ")[0] for key, text in told.items()}
    assert sizes == {"search.items": "80", "search.queries": "150", "search.targets": "750"}
    assert all(0.95 <= float(text.partition("recall@10 ")[2].split()[0]) <= 1 for text in told.values())
    tags = client().get_model_version("likes", "1").tags
    assert tags["fuseline.search.items"] == told["search.items"]


def test_the_gallery_holds_the_test_split_alone_and_finds_what_the_evaluation_found(every_task, tmp_path):
    params = make_params(tmp_path, SMALL | OTHER_TASKS)
    assert write_gallery(params, "retrieve", tmp_path / "one") == {}
    write_gallery(params, "retrieve", tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        *("queries.npy", "queries_owners.npy", "samples.arrow", "targets.npy", "targets_owners.npy"),
    ]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    predictor = predictor_of(params, "retrieve")
    gallery = Gallery(tmp_path / "one", predictor)
    table = pq.read_table(artifact_path("evaluate", "retrieve") / PREDICTIONS).to_pylist()
    for row in table:
        image = gallery.medium(row["sample_id"], "image")
        assert image and gallery.medium("nobody", "image") is gallery.medium(row["sample_id"], "text") is None
        answer: dict[str, Any] = predictor.predict([{"image": image}])[0]
        found = [result["sample_id"] for result in gallery.search(answer, {"image"}, 3)[1]]
        assert set(row["nearest"]) <= set(found)


def test_a_gallery_without_a_file_is_refused(every_task, tmp_path):
    params = make_params(tmp_path, SMALL | OTHER_TASKS)
    write_gallery(params, "retrieve", tmp_path / "gallery")
    (tmp_path / "gallery" / "targets_owners.npy").unlink()
    with pytest.raises(InputError, match="targets_owners.npy is missing or damaged"):
        Gallery(tmp_path / "gallery", predictor_of(params, "retrieve"))
    shelf = tmp_path / "model"
    shutil.copytree(artifact_path("train", "likes"), shelf)
    (shelf / SHELF / "users.arrow").write_bytes(b"no rows")
    with pytest.raises(InputError, match="users.arrow is missing or damaged"):
        predictor_of(params, "likes").task.read_beside(shelf)
