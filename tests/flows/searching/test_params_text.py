"""Single values of a params file's text are replaced; all else stays to the letter."""

import pytest
from ruamel.yaml import YAML

from flows.preset import composed, preset_names
from flows.searching.params_text import edited
from stages.base.errors import InputError
from tests.support.small_data import PROJECT

TEXT = """\
a:
  b: 1.0e-3   # how fast
  c: {d: [1, 2], e: old}  # two
  f: {}
"""


def test_a_value_is_replaced_and_comments_stay():
    assert edited(TEXT, {"a.b": 2e-5, "a.c.e": "new"}) == TEXT.replace("1.0e-3", "2.0e-05").replace("old", "new")


def test_what_is_not_there_is_added():
    wanted = (
        TEXT.replace("e: old}", "e: old, g: 'null'}").replace("f: {}", "f: {h: true}").replace("  b:", "  i: 3\n  b:")
    )
    assert edited(TEXT, {"a.c.g": "null", "a.f.h": True, "a.i": 3}) == wanted


def test_no_change_is_the_same_text():
    assert edited(TEXT, {}) == TEXT


@pytest.mark.parametrize("name", preset_names(PROJECT))
def test_every_preset_can_be_edited(name: str):
    text = composed(PROJECT, name)
    values = YAML(typ="safe").load(text)
    experiment = next(iter(values["experiments"]))
    after = edited(text, {f"experiments.{experiment}.train.learning_rate": 1e-5, "train.epochs": 99})
    wanted = YAML(typ="safe").load(after)
    assert wanted["experiments"][experiment]["train"]["learning_rate"] == 1e-5 and wanted["train"]["epochs"] == 99
    changed = [line for line in after.splitlines() if line not in text.splitlines()]
    assert 1 < len(changed) <= 2


def test_a_value_that_stands_for_others_too_is_refused():
    with pytest.raises(InputError, match="params.yaml: b.x cannot be replaced one by one"):
        edited("a: &one {x: 1}\nb: *one\n", {"b.x": 2})
