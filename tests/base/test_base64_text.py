"""Bytes come back from base64 as browsers, shells and Python write it; other texts are refused."""

import base64
import random
import textwrap
from urllib.parse import quote

import pytest

from stages.base.base64_text import SHORTEST, decode_base64

ALPHABETS = {"plain": base64.b64encode, "URL-safe": base64.urlsafe_b64encode}
WRAPPED = {
    "in one line": lambda text: text,
    "at 76": lambda text: "\n".join(textwrap.wrap(text, 76)) + "\n",
    "at 64 for Windows": lambda text: "\r\n".join(textwrap.wrap(text, 64)),
    "with spaces": lambda text: f" {text[:8]} {text[8:]}\t",
}
PADDED = {"padded": lambda text: text, "not padded": lambda text: text.rstrip("=")}
AROUND = {
    "alone": lambda text: text,
    "data URL": lambda text: f"data:image/png;base64,{text}",
    "data URL of a name": lambda text: f" DATA:image/png;name=a.png;BASE64,{text}",
    "data URL, escaped": lambda text: f"data:;base64,{quote(text, safe='')}",
}
LENGTHS = [SHORTEST, 67, 100, 101, 102, 5000]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("padded", PADDED)
@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_every_form_gives_the_bytes(alphabet, wrapped, padded, around):
    for length in LENGTHS:
        data = random.Random(length).randbytes(length)
        text = PADDED[padded](ALPHABETS[alphabet](data).decode())
        assert decode_base64(AROUND[around](WRAPPED[wrapped](text))) == data


def test_a_data_url_without_base64_is_read_as_it_is_escaped():
    assert decode_base64("data:image/svg+xml,%3Csvg%3E+%00é") == b"<svg>+\0" + "é".encode()


@pytest.mark.parametrize(
    "text",
    ["照片.png", "photo", "photo.png", "/etc/passwd", "cat_1", "a=b=", "QQ===", "=", "data:image/png;base64", "\ud800"]
    + ["data:;base64,a.b.", "http://127.0.0.1/x.png", "A" * (SHORTEST + 1), "QUJD" * 9 + "=QUJD", "é" * 40],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError):
        decode_base64(text)
