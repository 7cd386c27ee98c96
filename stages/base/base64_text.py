"""Bytes given as text: base64 in every form that tools write, and data URLs."""

import base64
from urllib.parse import unquote, unquote_to_bytes

SHORTEST = 32  # letters; what is shorter and not padded is rather a word, a name or a path, and no image or sound


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64: also wrapped, URL-safe, without its padding, or in a data URL.

    Raises:
        ValueError: when it is none.
    """
    if text.lstrip()[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma:
            raise ValueError("a data URL without a comma")
        if not head.rstrip().lower().endswith(";base64"):
            return unquote_to_bytes(text)
        text = unquote(text)
    joined = "".join(text.split())
    letters = joined.rstrip("=")
    if len(joined) - len(letters) > 2 or (len(letters) < SHORTEST and len(joined) % 4):
        raise ValueError("its padding is not that of base64")
    url_safe = b"-_" if "-" in letters or "_" in letters else None
    return base64.b64decode(letters + "=" * (-len(letters) % 4), url_safe, validate=True)
