"""The sections `evaluate`, `register`, `retrain` and `serve`: what becomes of a trained model."""

from typing import Annotated

from pydantic import Field, field_validator

from stages.params.section import Count, NonNegative, Positive, Section


class EvaluateParams(Section):
    """Decoding and the page of samples."""

    beam_size: Annotated[int, Field(ge=1, le=50)]
    length_penalty: NonNegative
    batch_size: Count
    num_samples_shown: Count


class RegisterParams(Section):
    """The promotion gate."""

    metric: str
    max_loss: NonNegative
    min_gain: NonNegative
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]
    floors: dict[str, dict[str, float]]


class RetrainParams(Section):
    """When the deployment that `make schedule` serves looks for new data."""

    cron: str
    timezone: str

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
    max_batch: Count
    max_wait_ms: NonNegative
    max_queue: Count
    max_body_mb: Positive
    max_seconds: Positive
    refresh_seconds: Positive
