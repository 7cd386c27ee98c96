"""What a request gives a model: parts of a form or keys of a JSON object, checked before anything is decoded.

Fields are a JSON object of values by name, in a form its text; the model itself knows its fields and checks them.
An empty text, a null and a file field in which no file was chosen are missing inputs, an empty file is a mistake.
"""

import json
from collections.abc import Iterable
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from stages.base.base64_text import decode_base64
from stages.base.store import FIELDS, MEDIA, USER_FIELDS
from stages.serving.errors import Refused

LIKED = "liked"
OF_FIELDS = (FIELDS, USER_FIELDS)
FORM, JSON = "multipart/form-data", "application/json"
NUMBERS = ("seed", "count")  # what a model that draws may be told: a number, or its digits
MOST_TEXT_CHARS = 10_000
MOST_PARTS = 32
BASE64_WANTED = "the base64 text or data URL of its bytes"


async def read_inputs(request: Request, names: Iterable[str]) -> dict[str, bytes | None]:
    """Return what is given for each of a model's inputs, texts as UTF-8; None where nothing is.

    Raises:
        Refused: 400 for a body that cannot be read, 415 for one of another kind, 422 for wrong values.
    """
    try:
        given = await _given(request)
    except ClientDisconnect:
        raise Refused(400, "gone", "the client went away") from None
    names = tuple(names)
    for name, data in given.items():
        if data is not None and name not in names:
            raise Refused(422, "unknown_input", f"unknown input {name[:80]!r}; this model takes {', '.join(names)}")
    return {name: _checked(name, given.get(name)) for name in names}


async def _given(request: Request) -> dict[str, bytes | None]:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == FORM.encode():
        return await _form(request, options.get(b"boundary", b""))
    if kind == JSON.encode():
        return _json_inputs(await request.body())
    raise Refused(415, "unsupported_media_type", f"a body of {FORM} or {JSON} is wanted")


def _checked(name: str, data: bytes | None) -> bytes | None:
    if data is None:
        return None
    if name in MEDIA:
        if not data:
            raise Refused(422, "empty_input", f"{name} is empty; leave it out where there is none")
        return _decoded(name, data.decode("latin1")) if data[:5].lower() == b"data:" else data
    try:
        text = data.decode("utf8")
    except UnicodeDecodeError as error:
        raise Refused(422, "not_utf8", f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    if not text.strip():
        return None
    if len(text) > MOST_TEXT_CHARS:
        raise Refused(422, "too_long", f"{name} has {len(text)} characters; at most {MOST_TEXT_CHARS} are allowed")
    return data


async def _form(request: Request, boundary: bytes) -> dict[str, bytes | None]:
    """Read the parts of a form; the body as a whole is bounded already."""
    parts: list[tuple[bytes | None, bytes | None]] = []
    ends: list[None] = []

    def take_field(field: Field) -> None:
        value = field.value or b""
        parts.append((field.field_name, value if value.strip() else None))
        _check_number(parts)

    def take_file(file: File) -> None:
        file.file_object.seek(0)
        data = file.file_object.read()
        parts.append((file.field_name, data if data or file.file_name else None))  # browsers send fields left alone
        file.close()
        _check_number(parts)

    try:
        parser = FormParser(FORM, take_field, take_file, lambda: ends.append(None), boundary, config=_IN_MEMORY)
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, "bad_form", f"the form cannot be read: {error}") from None
    if not ends:
        raise Refused(400, "bad_form", "the form ends before its closing boundary")
    given: dict[str, bytes | None] = {}
    for raw, data in parts:
        name = (raw or b"").decode("utf8", errors="replace")
        if name in given:
            raise Refused(422, "given_twice", f"{name[:80]} is given more than once")
        given[name] = data
    return given


_IN_MEMORY: Any = {"MAX_MEMORY_FILE_SIZE": 2**40, "MAX_BODY_SIZE": float("inf")}  # the server bounds the body


def _check_number(parts: list[Any]) -> None:
    if len(parts) > MOST_PARTS:
        raise Refused(400, "bad_form", f"the form has more than {MOST_PARTS} parts")


def _json_inputs(body: bytes) -> dict[str, bytes | None]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "bad_json", f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(given, dict):
        raise Refused(422, "wrong_type", "a JSON object is wanted, with a key for each input")
    return {name: _json_value(name, value) for name, value in given.items()}


def _json_value(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    if name in OF_FIELDS and isinstance(value, dict):
        return json.dumps(value).encode()
    if name in NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        return str(value).encode()
    if name == LIKED and isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = json.dumps(value) if any(set(item) & set(",;") for item in value) else ", ".join(value)
    if not isinstance(value, str):
        wanted = BASE64_WANTED if name in MEDIA else "an object of values by field" if name in OF_FIELDS else "a text"
        raise Refused(422, "wrong_type", f"{name[:80]}: {wanted} is wanted, not {type(value).__name__}")
    if not value.strip():
        return None
    if name in MEDIA:
        return _decoded(name, value)
    try:
        return value.encode("utf8")
    except UnicodeEncodeError:
        raise Refused(422, "wrong_value", f"{name[:80]}: a text is wanted, and half a character stands in it") from None


def _decoded(name: str, text: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        message = f"{name}: {BASE64_WANTED} is wanted; a path or an address is not read here"
        raise Refused(422, "wrong_value", message) from None
