"""Bodies of requests and answers, as the OpenAPI document describes them."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from stages.base.store import MEDIA
from stages.serving.bodies.inputs import FORM, JSON, NUMBERS, OF_FIELDS

TEXT = {"type": "string"}
FILE = {"type": "string", "format": "binary"}
NUMBER = {"type": "integer", "minimum": 0, "description": "of models that draw: the seed, and how many pictures"}
BASE64 = {"type": "string", "contentEncoding": "base64", "description": "base64 of its bytes, or a data URL"}
FIELDS_OBJECT = {
    "type": "object",
    "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
    "description": "values by field, as `GET /models` lists them; a date as 2024-03-01",
}
FIELDS_TEXT = TEXT | {"description": "the JSON text of an object"}
USER = TEXT | {"description": "of models that recommend: who is asked for"}
LIKED = TEXT | {"description": "ids of items that are liked, with commas between"}
LIKED_LIST = {"type": "array", "items": TEXT, "description": "ids of items that are liked"}
TEXTS = {"text": TEXT, "question": TEXT, "user": USER} | dict.fromkeys(NUMBERS, NUMBER)
INPUT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": dict.fromkeys(MEDIA, FILE)
                    | TEXTS
                    | dict.fromkeys(OF_FIELDS, FIELDS_TEXT)
                    | {"liked": LIKED},
                    "additionalProperties": False,
                }
            },
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": dict.fromkeys(MEDIA, BASE64)
                    | TEXTS
                    | dict.fromkeys(OF_FIELDS, FIELDS_OBJECT)
                    | {"liked": LIKED_LIST},
                    "additionalProperties": False,
                }
            },
        },
    }
}


class Problem(BaseModel):
    """Why a request was refused."""

    code: str
    message: str
    request_id: str


class Problems(BaseModel):
    """The body of every answer that is no success."""

    error: Problem


class FieldInput(BaseModel):
    """One field of the input `fields` or `user_fields`; `range` is from the least to the most that training has."""

    name: str
    kind: str
    unit: str
    categories: list[str]
    range: list[float | str]


class ModelInput(BaseModel):
    """One input of a model."""

    name: str
    required: bool
    fields: list[FieldInput]


class Score(BaseModel):
    """The headline metric of the evaluation."""

    metric: str
    value: float


class ModelCard(BaseModel):
    """A model in service."""

    name: str
    version: str
    alias: str | None
    task: str
    inputs: list[ModelInput]
    target: str | None
    score: Score | None
    lineage: dict[str, str]
    run_id: str | None
    searchable: bool
    num_items: int | None
    max_audio_seconds: float
    max_video_seconds: float | None


class Limits(BaseModel):
    """What a client may send."""

    max_body_mb: float


class ModelCards(BaseModel):
    """All models in service, and what may be sent."""

    models: list[ModelCard]
    limits: Limits


class Prediction(BaseModel):
    """An answer with the version that gave it; what stands in `answer` depends on the task."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    version: str
    request_id: str
    answer: dict[str, Any]


class Found(BaseModel):
    """A sample that was found; `text` is the text of it that is nearest, where texts were looked for."""

    sample_id: str
    similarity: float
    texts: list[str]
    text: str | None
    image: str | None
    audio: str | None
    video: str | None


class Search(BaseModel):
    """What was found, the nearest first."""

    model: str
    version: str
    request_id: str
    looked_for: str
    results: list[Found]


class Item(BaseModel):
    """One item that can be recommended: its title, and how it looks, where the version has that."""

    item: str
    title: str
    text: str | None
    image: str | None
    audio: str | None


class Items(BaseModel):
    """Items that were looked for by words, the most rated first."""

    model: str
    version: str
    request_id: str
    items: list[Item]


class State(BaseModel):
    """How the server is."""

    status: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals with these statuses."""
    return {status: {"model": Problems} for status in statuses}


ANSWERED = problems(400, 401, 404, 408, 413, 415, 422, 503)
STREAMED: dict[int | str, dict[str, Any]] = {  # FastAPI would say that refusals are streams as well
    status: {
        "description": "Why the request was refused",
        "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{Problems.__name__}"}}},
    }
    for status in ANSWERED
}
