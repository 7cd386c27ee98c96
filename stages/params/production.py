"""The sections `evaluate`, `register`, `retrain` and `serve`: what becomes of a trained model."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from stages.params.section import Count, NonNegative, Positive, Section

# As browsers write it: in small letters, without a path, without the port that its scheme has anyway.
ORIGIN = re.compile(r"(?!https:.*:443$|http:.*:80$)[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+")


Split = Literal["train", "val", "test"]


class RecogniserParams(Section):
    """A pretrained recogniser of speech: a folder, or a name on the hub with the revision that fixes it."""

    model: str
    revision: str = ""


class EvaluateParams(Section):
    """Decoding and the page of samples."""

    beam_size: Annotated[int, Field(ge=1, le=50)]
    length_penalty: NonNegative
    temperature: NonNegative = 0.0  # so in versions from before it was a value, as the next
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    ngram_weight: NonNegative = 0.5  # so in versions from before it was a value, as the next
    word_bonus: float = 0.5
    recogniser: Literal["none"] | RecogniserParams = "none"  # a row beside transcripts
    steps: Count = 24  # of made pictures; so in versions from before it was a value, as the next
    guidance: Annotated[float, Field(ge=1)] = 2.0
    batch_size: Count
    num_samples_shown: Count


class RegisterParams(Section):
    """The promotion gate, and what a version is searched in."""

    metric: str
    max_loss: NonNegative
    min_gain: NonNegative
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]
    floors: dict[str, dict[str, float]]
    gallery_splits: Annotated[list[Split], Field(min_length=1)] = ["test"]  # versions from before are rebuilt so,
    gallery_samples: Count = 1000  # as with the next
    exact_below: Count = 100_000
    index_recall: Annotated[float, Field(gt=0, le=1)] = 0.98


class RetrainParams(Section):
    """When the deployment that `make schedule` serves looks for new data, and what its trainings start from."""

    cron: str
    timezone: str
    init: Literal["none", "champion"] = "none"  # versions from before it was a value are rebuilt without it

    @field_validator("cron")
    @classmethod
    def _has_five_fields(cls, cron: str) -> str:
        if len(cron.split()) != 5:
            raise ValueError("minute, hour, day of month, month, day of week, such as 0 3 * * *")
        return cron


class ServeParams(Section):
    """Which models the HTTP service answers with, where, and its limits."""

    models: list[str]
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    allow_origins: list[str] = []  # also of params.yaml from before it was a value
    max_batch: Count
    max_wait_ms: NonNegative
    max_queue: Count
    max_body_mb: Positive
    max_seconds: Positive
    refresh_seconds: Positive

    @field_validator("allow_origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(
                    "origins as browsers send them, such as https://app.example or http://localhost:3000, or '*'"
                )
        return origins
