"""What an experiment cannot start from is told when params.yaml is read."""

import pytest

from stages.base.errors import InputError
from stages.params.inits import chain
from tests.support.small_data import make_params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vqa.init": "captoin"},
            "experiments.vqa.init: got 'captoin'; expected one of caption, classify, retrieve, none",
        ),
        ({"vqa.init": "vqa"}, "experiments.vqa.init: got 'vqa'; expected one of caption, classify, retrieve, none"),
        ({"vqa.init": None}, "experiments.vqa.init: got None; expected a valid string"),
        (
            {"vqa.init": "classify", "classify.dim": 64},
            "experiments.vqa.init: nothing of classify fits (image: its dim is 64, here 128); ",
        ),
        (
            {"retrieve.init": "caption", "retrieve.encoders.image": "vit"},
            "experiments.retrieve.init: nothing of caption fits (image: its encoders.image is cnn, here vit; "
            "text: it has no text); make one encoder and dim of both the same, or set it to none",
        ),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        make_params(tmp_path, {f"experiments.{place}": value for place, value in changes.items()})
    (line,) = str(caught.value).split("\n")[1:]
    assert line.startswith(f"  {message}")


def test_a_circle_is_named_by_all_of_its_experiments(tmp_path):
    changes = {"experiments.caption.init": "vqa", "experiments.vqa.init": "retrieve"}
    make_params(tmp_path, changes)
    with pytest.raises(InputError) as caught:
        make_params(tmp_path, changes | {"experiments.retrieve.init": "caption"})
    told = {
        "caption": "vqa, which starts from retrieve from caption",
        "retrieve": "caption, which starts from vqa from",
    }
    first, second, _ = str(caught.value).split("\n")[1:]
    assert (
        first.replace("'", "") == f"  experiments.caption.init: got {told['caption']} in turn; set one of these to none"
    )
    assert second.replace("'", "").startswith(f"  experiments.retrieve.init: got {told['retrieve']} retrieve in turn")


def test_a_chain_is_told_nearest_first():
    inits = {"a": "b", "b": "c", "c": "none", "d": "e", "e": "d"}
    assert chain(inits, "a") == ["b", "c"] and chain(inits, "c") == [] and chain(inits, "d") == ["e", "d"]
