"""The gate at work in a real registry: floors, test data that changed, decisions cut off, forbidden versions."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from flows import rollback
from stages import evaluate, features, register
from stages.base.errors import InputError
from stages.base.store import MANIFEST, METRICS, PREDICTIONS, artifact_path, sha256_file, write_json
from stages.base.tracking import client
from stages.params import load_params
from stages.registry.journal import history
from stages.registry.promotion import DECISION_TAG, settle
from stages.registry.registry import aliases
from tests.conftest import SMALL
from tests.support.small_data import make_params
from tests.support.small_registry import Cut, CutClient

pytestmark = pytest.mark.filterwarnings("ignore")


def version_file() -> dict:
    return json.loads((artifact_path("register", "caption") / register.VERSION_FILE).read_text())


def now() -> dict:
    return {alias: int(number) for alias, number in aliases(client(), "caption").items()}


def register_with(project, changes: dict) -> dict:
    """Evaluate the trained model anew, register what comes out, and return its record."""
    params = make_params(project, SMALL | changes)
    evaluate.run(params, "caption")
    register.run(params, "caption")
    return version_file()


def change_test_data(change) -> int:
    """Change the table of the prepared test split, and what is made of it; return its number of samples."""
    folder = artifact_path("prepare", "scenes")
    (path,) = folder.glob("test-*.parquet")
    pq.write_table(change(pq.read_table(path)), path)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    manifest["counts"]["test"] = len(pq.read_table(path))
    write_json(folder / MANIFEST, manifest)
    features.run(load_params(), "scenes-image")
    return manifest["counts"]["test"]


def swap_images(table):
    place = table.schema.get_field_index("image")
    return table.set_column(place, table.schema.field(place), [table["image"].to_pylist()[::-1]])


def test_a_first_version_below_a_floor_is_not_promoted_and_the_next_one_above_is(project):
    found = register_with(project, {"register.floors": {"caption": {"bleu_1": 0.1, "bleu_4": 0.99}}})
    assert found["aliases"] == ["challenger"] and not found["decision"]["promote"]
    assert found["decision"]["reasons"][1].endswith("reaches its floor of 0.1")
    assert found["decision"]["reasons"][2].endswith("is below its floor of 0.99")
    found = register_with(project, {"evaluate.num_samples_shown": 5})
    assert found["aliases"] == ["champion"] and now() == {"champion": 2}


def test_on_a_test_split_of_one_class_nothing_is_promoted_until_a_person_does(project):
    def one_label(table):
        place = table.schema.get_field_index("label")
        return table.set_column(place, table.schema.field(place), [["warning"] * len(table)])

    change_test_data(one_label)
    for number in (1, 2):
        params = make_params(project, SMALL | {"evaluate.num_samples_shown": number})
        evaluate.run(params, "classify")
        register.run(params, "classify")
        found = json.loads((artifact_path("register", "classify") / register.VERSION_FILE).read_text())
        assert found["version"] == number and found["aliases"] == ["challenger"]
        (told,) = found["decision"]["reasons"]
        assert told.startswith("not promoted: every right answer on the test split is 'warning', ")
        assert f"`python -m stages.register classify --promote {number} --reason <text>`" in told
        if number == 1:
            register.command(["classify", "--promote", "1", "--reason", "it is wanted"])
    assert {alias: int(n) for alias, n in aliases(client(), "classify").items()} == {"champion": 1, "challenger": 2}


def test_a_floor_of_nothing_is_refused_before_anything_is_registered(project):
    params = make_params(project, SMALL | {"register.floors": {"caption": {"bleu": 0.1}}})
    with pytest.raises(InputError, match="register.floors.caption: no metric or slice 'bleu'; expected one of bleu_1"):
        register.run(params, "caption")
    assert now() == {}


@pytest.mark.parametrize("change", [lambda table: table.slice(0, 12), swap_images])
def test_on_changed_test_data_the_champion_is_scored_again_by_its_own_code(project, change):
    register.run(load_params(), "caption")
    change_test_data(change)
    found = register_with(project, {"register.max_loss": 0.0})
    assert found["version"] == 2 and found["aliases"] == ["champion"]
    decision = found["decision"]
    told = "the champion, version 1, was scored again on this test data: the test data changed since it was evaluated"
    assert decision["reasons"][0] == told
    assert decision["gain"] == 0 and decision["champion"] == decision["challenger"]  # the weights are the same
    kept = client().download_artifacts(found["run_id"], f"rescored/champion-1/{PREDICTIONS}", str(project))
    assert pq.read_table(kept).equals(pq.read_table(artifact_path("evaluate", "caption") / PREDICTIONS))


def test_a_test_on_what_the_champion_was_trained_on_is_told(project):
    register.run(load_params(), "caption")
    (train,) = artifact_path("prepare", "scenes").glob("train-*.parquet")

    def some_of_training(table):
        place = table.schema.get_field_index("image")
        images = [*pq.read_table(train)["image"].to_pylist()[:5], *table["image"].to_pylist()[5:]]
        return table.set_column(place, table.schema.field(place), [images])

    num_test = change_test_data(some_of_training)
    decision = register_with(project, {"register.max_loss": 0.0})["decision"]
    assert decision["reasons"][1] == (
        f"5 of {num_test} test samples were in its training, so that its score flatters it"
    )


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (
            lambda code: (code / "packaging/rescore.py").unlink(),
            "the code that it was registered with cannot score it again",
        ),
        (
            lambda code: (code / "media/text.py").write_text("1 / 0"),
            "it cannot be scored again on this test data: ZeroDiv",
        ),
    ],
)
def test_a_champion_that_cannot_be_scored_again_stays_until_a_person_decides(project, harm, reason):
    register.run(load_params(), "caption")
    (code,) = (project / "artifacts/mlflow/files").rglob("code/stages")
    harm(code)
    change_test_data(swap_images)
    found = register_with(project, {})
    assert found["aliases"] == ["challenger"] and now() == {"champion": 1, "challenger": 2}
    (told,) = found["decision"]["reasons"]
    assert told.startswith(f"not compared with the champion, version 1: {reason}")
    register.command(["caption", "--promote", "2", "--reason", "looked at by hand"])
    assert now() == {"champion": 2}
    register.run(load_params(), "caption")
    assert now() == {"champion": 2}


def test_the_gate_compares_by_what_of_the_captions_is_true(project):
    kinds = {f"statements_true_by_kind.{kind}": 0.0 for kind in ("object", "colour")}
    changes = {"register.metric": "statements_true", "register.max_loss": 0.0}
    found = register_with(project, changes | {"register.floors": {"caption": {"statements_true": 0.0, **kinds}}})
    share = json.loads((artifact_path("evaluate", "caption") / METRICS).read_text())["statements_true"]
    assert found["decision"]["challenger"] == pytest.approx(share) and found["aliases"] == ["champion"]
    assert len(found["decision"]["reasons"]) == 4 and "reaches its floor of 0" in found["decision"]["reasons"][3]
    shown, floor = {"evaluate.num_samples_shown": 5}, {"statements_true_by_kind.relation": 1.0}  # another version
    found = register_with(project, changes | shown | {"register.floors": {"caption": floor}})
    assert found["decision"]["gain"] == 0 and found["aliases"] == ["challenger"]
    assert found["decision"]["reasons"][-1].endswith("is below its floor of 1")


def test_a_champion_from_before_the_metric_is_not_compared_by_it(project):
    register.run(load_params(), "caption")
    (kept,) = (project / "artifacts/mlflow/files").rglob(PREDICTIONS)
    pq.write_table(pq.read_table(kept).drop_columns(["statements", "statements_true"]), kept)
    found = register_with(project, {"register.metric": "statements_true", "evaluate.num_samples_shown": 5})
    assert found["aliases"] == ["challenger"] and now() == {"champion": 1, "challenger": 2}
    (told,) = found["decision"]["reasons"]
    assert told.startswith(
        "not compared with the champion, version 1: its predictions have no column 'statements_true'"
    )
    assert "another register.metric, such as bleu_4" in told


def test_a_settling_cut_off_before_any_of_its_changes_ends_the_same(project):
    params = load_params()
    register.run(params, "caption")
    whole = register_with(project, {"evaluate.num_samples_shown": 5})["decision"]
    mlflow_client = client()
    for at in range(20):
        mlflow_client.set_registered_model_alias("caption", "champion", "1")
        mlflow_client.delete_model_version_tag("caption", "2", DECISION_TAG)
        for entry in history(mlflow_client, "caption")[1:]:
            mlflow_client.delete_registered_model_tag("caption", f"fuseline.champion.{entry.number:06d}")
        try:
            settle(CutClient(mlflow_client, at), params, "caption", 2)
        except Cut:
            pass
        else:
            break
        assert now()["champion"] in (1, 2)
        assert settle(mlflow_client, params, "caption", 2) == whole
        assert now() == {"champion": 2}
        assert [(entry.to, entry.done) for entry in history(mlflow_client, "caption")] == [(1, True), (2, True)]
    assert at == 9


def test_a_version_rolled_back_stays_away_when_its_like_is_registered_again(project):
    register.run(load_params(), "caption")
    register_with(project, {"evaluate.num_samples_shown": 5})
    rollback.command(["caption", "--reason", "it calls cats dogs"])
    assert now() == {"champion": 1}
    for _ in range(2):
        register.run(load_params(), "caption")
        found = version_file()
        assert found["version"] == 2 and found["aliases"] == [] and not found["decision"]["promote"]
        assert found["decision"]["reasons"][0].endswith(": it calls cats dogs")
        assert now() == {"champion": 1}


def test_a_version_whose_files_are_not_all_there_gets_no_alias(project):
    register.run(load_params(), "caption")
    client().delete_registered_model_alias("caption", "champion")
    client().delete_model_version_tag("caption", "1", DECISION_TAG)
    (weights,) = (project / "artifacts/mlflow/files").rglob("model.safetensors")
    shutil.copyfile(weights, project / "kept")
    weights.write_bytes(b"half")
    with pytest.raises(InputError, match="caption: version 1 is not whole: its file .*model.safetensors has 4 bytes"):
        register.run(load_params(), "caption")
    assert now() == {}
    shutil.copyfile(project / "kept", weights)
    register.run(load_params(), "caption")
    assert now() == {"champion": 1}
