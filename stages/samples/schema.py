"""What a prepared sample looks like: one row, one sample; what it has several of are lists in its row."""

from collections.abc import Iterable

import pyarrow as pa

SAMPLES = pa.schema(  # a data set has the columns that its source's fields make
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("image", pa.binary()),  # encoded bytes that decode, without metadata
        pa.field("audio", pa.binary()),  # WAV or FLAC of one channel, without metadata
        pa.field("audio_rate_hz", pa.int32()),
        pa.field("video", pa.binary()),  # encoded bytes that decode, without sound and metadata
        pa.field("texts", pa.list_(pa.string())),  # as the source has them, white space folded
        pa.field("tokens", pa.list_(pa.string())),  # the same, normalised; tokens joined by a space
        pa.field("message", pa.string()),  # a text of its own
        pa.field("transcript", pa.string()),  # what is spoken, as the source has it
        pa.field("transcript_tokens", pa.string()),  # the same, normalised; tokens joined by a space
        pa.field("word_times", pa.list_(pa.list_(pa.float32(), 2))),  # seconds from start to end of each token
        pa.field("questions", pa.list_(pa.string())),
        pa.field("answers", pa.list_(pa.string())),  # one a question: its class, see `answers`
        pa.field("question_kinds", pa.list_(pa.string())),
        pa.field("fields", pa.list_(pa.string())),  # normalised cells, in the order of the columns in `fields.json`
        pa.field("rating_users", pa.list_(pa.string())),  # who rated it
        pa.field("rating_values", pa.list_(pa.float32())),
        pa.field("rating_times", pa.list_(pa.int64())),
        pa.field("rating_splits", pa.list_(pa.string())),  # on which each is known, whichever the sample's own is
        pa.field("label", pa.string()),
        pa.field("tags", pa.list_(pa.string())),  # those that apply; null where nobody knows
        pa.field("numbers", pa.map_(pa.string(), pa.float64())),  # known ones by name, so that their order says nothing
        pa.field("group", pa.string()),  # speaker, user
        pa.field("oracle", pa.string()),  # normalised caption from the true attributes, where known
        pa.field("truth", pa.string()),  # JSON of the true attributes, where known
    ]
)
COLUMNS = {  # of a field of `sources.base.RawSample`
    "image": ("image",),
    "audio": ("audio", "audio_rate_hz"),
    "video": ("video",),
    "texts": ("texts", "tokens"),
    "message": ("message",),
    "transcript": ("transcript", "transcript_tokens"),
    "word_times": ("word_times",),
    "questions": ("questions", "answers", "question_kinds"),
    "fields": ("fields",),
    "ratings": ("rating_users", "rating_values", "rating_times", "rating_splits"),
    "label": ("label",),
    "tags": ("tags",),
    "numbers": ("numbers",),
    "group": ("group",),
    "oracle": ("oracle",),
    "truth": ("truth",),
}
QUARANTINE = pa.schema(
    [
        pa.field("where", pa.string(), nullable=False),  # sample id, or file and row
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def samples_schema(fields: Iterable[str]) -> pa.Schema:
    """Return the schema of a data set whose source has these fields."""
    wanted = {"sample_id"}.union(*(COLUMNS[field] for field in fields))
    return pa.schema([field for field in SAMPLES if field.name in wanted])
