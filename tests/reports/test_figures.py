"""Pictures of an evaluation show its numbers, and the same numbers are the same bytes."""

import warnings

import numpy as np
import pytest
from PIL import Image

from stages.reports.figures import _comparison, _confusion, _predicted, _save, drawable, write_figures
from tests.support.small_splits import make_rows, make_task

METRICS = {
    "accuracy": 0.75,
    "baselines": {"majority": {"accuracy": 0.25}, "only_image": {"accuracy": 0.5}},
    "ceiling": {"accuracy": 1.0},
    "settings": {"headline": "accuracy"},
}
ANSWERS = [{"label": row["label"] if i else "cat"} for i, row in enumerate(make_rows())]


def test_the_same_answers_give_the_same_bytes(tmp_path):
    task, rows = make_task("classify", ("image",)), make_rows()
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_figures(tmp_path / name, task, ANSWERS, rows, METRICS)
        found.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert found[0] == found[1] and list(found[0]) == ["comparison.png", "confusion.png"]
    for name in found[0]:
        with Image.open(tmp_path / "one" / name) as image:
            assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 10  # there is something to see
            assert "Software" not in image.info


@pytest.mark.parametrize("name", ["caption", "vqa"])
def test_tasks_without_labels_are_compared_alone(tmp_path, name):
    task = make_task(name, ("image", "question"))
    answers = [{"answers": ["yes"]}]
    metrics = {**METRICS, "ceiling": {}}
    write_figures(tmp_path, task, answers, make_rows()[:1], metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.png"]


def test_the_comparison_has_a_bar_for_the_model_each_baseline_and_the_ceiling():
    (axes,) = _comparison(METRICS).axes
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25, 0.5, 1.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["model", "majority", "only image", "ceiling"]
    (axes,) = _comparison({**METRICS, "ceiling": {}}).axes
    assert len(axes.patches) == 3


def test_confusion_shows_shares_of_each_true_label_and_the_counts():
    (axes,) = _confusion(["a", "a", "a", "a", "b"], ["a", "a", "a", "c", "a"]).axes
    assert axes.images[0].get_array().tolist() == [[0.75, 0, 0.25], [1, 0, 0], [0, 0, 0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert sorted((text.get_position(), text.get_text()) for text in axes.texts) == [
        ((0, 0), "3"),
        ((0, 1), "1"),
        ((2, 0), "1"),
    ]


def test_a_large_confusion_has_no_numbers():
    labels = [f"label-{i:02d}" for i in range(21)]
    (axes,) = _confusion(labels, labels[::-1]).axes
    assert not axes.texts and axes.images[0].get_array().shape == (21, 21)


def test_names_that_a_font_has_are_drawn_as_they_are(tmp_path):
    names = ["dog", "caf\u00e9", "\u0441\u043e\u0431\u0430\u043a\u0430", "\u03b1"]
    assert drawable(names)[0] == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = _confusion(names, names[::-1])
        _save(figure, tmp_path / "x.png")
    assert figure.axes[0].get_ylabel() == "true"


def test_letters_that_no_font_has_are_spelt_and_said(tmp_path):
    private = "\U0010fffe\U0010ffff"  # no letters, so no font draws them
    names = ["dog", f"a{private}b", "\U0010ffff"]
    assert drawable(names)[0] == ["dog", "a[10FFFE 10FFFF]b", "[10FFFF]"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = _confusion(names, names)
        _save(figure, tmp_path / "x.png")
    assert "letters that no font here has" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize("name", ["\u72d7", "\u0915\u0941\u0924\u094d\u0924\u093e", "\u0643\u0644\u0628", "\U0001f436"])
def test_a_name_of_any_script_is_drawn_or_spelt_but_never_an_empty_box(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _save(_confusion([name, "b"], ["b", name]), tmp_path / "x.png")
    ((shown, _), fonts) = drawable([name, "b"])
    assert (shown == name) != ("[" in shown) and fonts


def test_each_number_is_drawn_with_its_interval_and_those_off_it_stand_out(tmp_path):
    task, rows = make_task("regress", ("image",)), make_rows()
    ends = {"low": [0.0, -9.0], "high": [6.0, 99.0]}
    answers = [{"names": task.names, "numbers": [3.0, 12.0], **ends} for _ in rows]
    write_figures(tmp_path, task, answers, rows, METRICS)
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.png", "predicted.png"}
    age, weight = (
        [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "."]
        for axes in _predicted(answers, rows).axes
    )
    assert age == [5, 3] and weight == [5, 2]  # ages 0 to 10.5; weights 20 to -29, one unknown
