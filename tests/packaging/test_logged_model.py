"""Metrics are logged under names that MLflow takes, and none takes another's place."""

import pytest

from stages.base.tracking import client
from stages.packaging.logged_model import metric_names

GROUPS = {
    "full stop": ["Acme Inc.", "Bee Ltd.", ".", "..", "..."],
    "path": ["/site/a", "/site/b", "//site/a", "site/"],
    "address": ["https://x.org//1", "https://x.org//2"],
    "long": ["a" * 260, "b" * 260, "a" * 259 + "b"],
    "script": ["数据", "été", "C++", "C#", "+1", "-1", "", " "],
    "alike": ["a/b", "a.b", "a_b", "a:b", "a b"],
}


def test_ordinary_names_are_those_of_the_metrics_file():
    metrics = {"bleu_4": 0.5, "accuracy_by_kind": {"colour": 0.25}, "baselines": {"majority": {"recall@1": 1}}}
    assert metric_names(metrics) == {
        "test_bleu_4": 0.5,
        "test_accuracy_by_kind/colour": 0.25,
        "test_baselines/majority/recall_1": 1.0,
    }


@pytest.mark.parametrize("kind", GROUPS)
def test_mlflow_takes_every_group_and_none_is_lost(kind, empty_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store)
    values = {name: i / 100 for i, name in enumerate(GROUPS[kind])}
    named = metric_names({"accuracy_by_group": values})
    assert sorted(named.values()) == sorted(values.values())
    assert named == metric_names({"accuracy_by_group": values})
    mlflow_client = client()
    run = mlflow_client.create_run("0")
    for name, value in named.items():
        mlflow_client.log_metric(run.info.run_id, name, value)
    assert mlflow_client.get_run(run.info.run_id).data.metrics == named
