"""The page of samples shows captions of any script as they read."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.media.text import join, tokenize
from stages.media.video import VideoBounds, clean_video
from stages.reports.frames import frames_that_counted
from stages.reports.samples_page import Prepared, write_samples_page
from tests.support.small_splits import make_task
from tests.support.videos import RATE_HZ, video

METRICS = {"num_samples": 1, "bleu_4": 0.5, "baselines": {}, "ceiling": {}}


@pytest.mark.parametrize(
    "text", ["two small dogs", "今天我看到3只猫", "เด็กกินน้ำ", "كلب صغير يجري", "我 like 猫", "वह दीन है"]
)
def test_words_stand_on_the_page_as_in_the_caption(text, tmp_path):
    words = tokenize(text)
    answer = {"caption": join(words), "words": words, "word_probabilities": [0.5] * len(words), "score": -1.0}
    row = {"sample_id": "a", "texts": [text]}
    pq.write_table(pa.table({"sample_id": ["a"], "texts": [[text]]}), tmp_path / "test-00000.parquet")
    path = tmp_path / "page.html"
    task = make_task("caption", ("image",))
    write_samples_page(path, "x", METRICS, task, [(answer, row)], Prepared(tmp_path, {"text": "texts"}))
    page = path.read_text(encoding="utf8")
    (caption,) = re.findall(r'<div class="caption" dir="auto">(.*?)</div>', page, re.DOTALL)
    assert re.sub(r"<[^>]*>", "", caption).strip() == join(words)
    assert f'<blockquote dir="auto">{text}</blockquote>' in page and f'<li dir="auto">{text}</li>' in page


@pytest.mark.parametrize(
    ("caption", "told", "marked"),
    [
        ("a red dog", "1 of 1 statements true", {}),
        ("it is a blue dog", '0 of 1 statements true: <b dir="auto">✗ a blue dog</b>', {"a", "blue", "dog"}),
        ("a dog a cat", '1 of 2 statements true: <b dir="auto">✗ a cat</b>', {"a", "cat"}),
        ("it is", "0 of 0 statements true", {}),
    ],
)
def test_false_statements_are_marked_and_counted(caption, told, marked, tmp_path):
    words = caption.split()
    answer = {"caption": caption, "words": words, "word_probabilities": [0.5] * len(words), "score": -1.0}
    truth = json.dumps({"objects": [{"kind": "dog", "colour": "red"}]})
    pq.write_table(pa.table({"sample_id": ["a"]}), tmp_path / "test-00000.parquet")
    task, page = make_task("caption", ("image",)), tmp_path / "page.html"
    row = {"sample_id": "a", "texts": ["A dog."], "truth": truth}
    write_samples_page(page, "x", METRICS, task, [(answer, row)], Prepared(tmp_path, {}))
    text = " ".join(page.read_text(encoding="utf8").split())
    assert told in text
    false = re.findall(r'<button class="false" [^>]*title="[^"]*; false: ([^"]*)"[^>]*>(.*?)<', text)
    assert {word for _, word in false} == set(marked)
    assert all(f"✗ {said}</b>" in text for said, _ in false)
    row["truth"] = None
    write_samples_page(page, "x", METRICS, task, [(answer, row)], Prepared(tmp_path, {}))
    assert "statements true" not in page.read_text(encoding="utf8") and "wavy one" not in page.read_text(
        encoding="utf8"
    )


def test_frames_of_a_video_stand_with_what_each_counts(tmp_path):
    falls = [0.0, 0.4, -0.1]
    given = clean_video(video(), VideoBounds(5.0, 0.1))[0]
    shown = frames_that_counted({"frames": falls, "frame_seconds": 1 / RATE_HZ}, given)
    assert [frame["width"] for frame in shown] == [0, 100, 25]
    assert [frame["says"].split(": ")[1] for frame in shown] == [
        "without it the probability falls by 0.00",
        "without it the probability falls by 0.40",
        "without it the probability rises by 0.10",
    ]
    pq.write_table(pa.table({"sample_id": ["a"], "video": [given]}), tmp_path / "test-00000.parquet")
    task, page = make_task("classify", ("video",), encoders={"video": "gru"}), tmp_path / "page.html"
    answer = {"label": task.classes[0], "probability": 0.5, "probabilities": [0.5], "frames": falls}
    row = {"sample_id": "a", "label": task.classes[0]}
    write_samples_page(page, "x", METRICS, task, [(answer, row)], Prepared(tmp_path, {"video": "video"}))
    text = page.read_text(encoding="utf8")
    assert text.count('<img src="data:image/jpeg;base64,') == 3 and 'class="weight against"' in text
    write_samples_page(
        page, "x", METRICS, task, [(answer | {"frames": []}, row)], Prepared(tmp_path, {"video": "video"})
    )
    assert 'class="strip"' in page.read_text(encoding="utf8")
