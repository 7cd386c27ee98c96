"""Metrics are logged under names that MLflow takes, and none takes another's place."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from stages.base.tracking import client
from stages.packaging.logged_model import REQUIREMENTS, metric_names
from stages.training.key import imported_files

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


def test_a_version_asks_for_every_package_that_its_code_begins_with():
    served = Path(__file__).parents[2] / "stages/packaging/served_model.py"
    imports = [
        name
        for path in imported_files(served)
        for node in ast.parse(path.read_text(encoding="utf8")).body
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)])
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    modules = {name.partition(".")[0] for name in imports} - sys.stdlib_module_names - {"stages"}
    owners = packages_distributions()
    assert {"regex", "torch", "PIL"} <= modules
    assert [name for name in modules if not {owner.lower() for owner in owners[name]} & set(REQUIREMENTS)] == []
