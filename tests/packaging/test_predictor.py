"""A served model cleans texts as training did, and says what it cannot read."""

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.extractors.tokens import Tokens
from stages.media.text import SPECIALS
from stages.packaging.predictor import Predictor, PredictSettings
from tests.support.small_splits import CPU, SPECS, make_task, project_params

WORDS = [*SPECIALS, "दिन", "猫", "😀"]


@pytest.fixture
def predictor() -> Predictor:
    settings = PredictSettings(project_params().evaluate, 1.0, 1.0)
    return Predictor(make_task("match", ("text",)), {"text": Tokens(WORDS, *SPECS["text"].shape)}, settings, CPU)


@pytest.mark.parametrize(("text", "word"), [("दिन", 4), ("दीन", 3), ("猫", 5), ("😀", 6), ("猫\t猫", 5)])
def test_texts_of_any_script_are_read_as_in_training(predictor, text, word):
    ids = predictor.read({"text": text.encode()})["text"]
    assert ids[0] == word and np.count_nonzero(ids) == text.count(text[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"...", "text: no word in it"),
        ("狗".encode("gb18030"), "text: text is not UTF-8: invalid start byte at byte 0"),
    ],
)
def test_what_is_no_text_is_refused_and_not_guessed(predictor, data, message):
    with pytest.raises(InputError, match=message):
        predictor.read({"text": data})
