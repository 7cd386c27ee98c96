"""The embedded data source: small rendered scenes with captions, made from the seed, with no download.

`world` holds what is true of a scene; each other module makes one modality of it and adds one column here.
Scene i depends on (seed, i) alone: asking for more samples leaves those before as they were.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.base.lexicon import Lexicon
from stages.base.parallel import in_processes, usable_cores
from stages.base.store import write_json
from stages.sources.base import Question, Rating, RawSample, RemoteFile, Source, Users
from stages.sources.scenes import (
    captions,
    clip,
    draw,
    messages,
    motion,
    offers,
    questions,
    situation,
    speech,
    targets,
    world,
)
from stages.sources.scenes.languages import LANGUAGES
from stages.sources.scenes.lexicon import lexicon
from stages.sources.scenes.options import ScenesParams
from stages.sources.scenes.people import tastes
from stages.sources.scenes.world import Stream

FILE, TOLD = "scenes.parquet", "users.json"
ROWS_PER_GROUP = 250
SCENES_PER_PROCESS = 500
"""With fewer, starting it would take longer than it saves."""
KEPT_BYTES = 2**24
"""Memory that is given back and asked for again with each array costs 500 page faults a scene, a fifth of its time."""
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("split", pa.string()),
        ("image", pa.binary()),  # PNG
        ("audio", pa.binary()),  # WAV
        ("video", pa.binary()),  # MP4, where clips are made
        ("texts", pa.list_(pa.string())),
        ("message", pa.string()),
        ("transcript", pa.string()),
        ("word_times", pa.list_(pa.list_(pa.float64()))),
        ("questions", pa.list_(pa.struct([(name, pa.string()) for name in ("text", "answer", "kind")]))),
        ("label", pa.string()),
        ("oracle", pa.string()),
        ("truth", pa.string()),  # JSON
    ]
)
OFFERED = [("fields", pa.string())]  # JSON, where there are any
TARGETS = [("numbers", pa.map_(pa.string(), pa.float64())), ("tags", pa.list_(pa.string()))]  # where they are made
RATING = pa.struct([("user", pa.string()), ("value", pa.float64()), ("time", pa.int64()), ("split", pa.string())])
RATED = [("ratings", pa.list_(RATING))]  # where there are users
COMPRESSION = {
    "sample_id": "zstd",
    "split": "zstd",
    "image": "none",
    "audio": "zstd",
    "video": "none",
    "texts.list.element": "zstd",
    "message": "zstd",
    "transcript": "zstd",
    "word_times.list.element.list.element": "zstd",
    "questions.list.element.text": "zstd",
    "questions.list.element.answer": "zstd",
    "questions.list.element.kind": "zstd",
    "label": "zstd",
    "oracle": "zstd",
    "truth": "zstd",
}
OF_TARGETS = dict.fromkeys(("numbers.key_value.key", "numbers.key_value.value", "tags.list.element"), "zstd")


class Scenes(Source):
    """Generated scenes, see the module."""

    fields: tuple[str, ...] = (
        "image",
        "audio",
        "texts",
        "message",
        "transcript",
        "word_times",
        "questions",
        "label",
        "oracle",
        "truth",
    )
    required: tuple[str, ...] = ("image", "texts")

    def __init__(self, params: ScenesParams) -> None:
        """Keep the params.

        Raises:
            InputError: a scene cannot hold `max_objects`, or bear `questions_per_image`; nothing moves without a clip.
        """
        if not 1 <= params.max_objects <= world.MAX_OBJECTS:
            raise InputError(
                f"max_objects of the source scenes is {params.max_objects}: "
                f"allowed are 1 to {world.MAX_OBJECTS}, more have no room in the frame"
            )
        if not 0 <= params.questions_per_image <= questions.MAX_QUESTIONS:
            raise InputError(
                f"questions_per_image of the source scenes is {params.questions_per_image}: allowed are 0 to "
                f"{questions.MAX_QUESTIONS}, a scene of one object has no more that differ"
            )
        if params.label == "motion" and not params.clips:
            raise InputError("label of the source scenes is motion, and nothing moves: set clips to true")
        if params.label == "deal" and not params.fields:
            raise InputError("label of the source scenes is deal, and nothing is on offer: set fields to true")
        if params.users and params.clips:
            raise InputError("users of the source scenes is set beside clips: they rate pictures, sounds and texts")
        self.params = params
        self.fields = Scenes.fields + ("video",) * params.clips + ("fields",) * params.fields
        self.fields += ("numbers", "tags") * params.targets + ("ratings",) * bool(params.users)
        self.required = () if params.users else Scenes.required
        more = [*OFFERED * params.fields, *TARGETS * params.targets, *RATED * bool(params.users)]
        self._schema = pa.schema([*SCHEMA, *more])

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name no file: everything is generated."""
        return ()

    def generate(self, folder: Path, seed: int) -> None:
        """Write all scenes into one Parquet file, made by a process a core, a few row groups at a time in memory."""
        starts = range(0, self.params.samples, ROWS_PER_GROUP)
        compression = COMPRESSION | (OF_TARGETS if self.params.targets else {})
        workers = min(usable_cores(), self.params.samples // SCENES_PER_PROCESS)
        with pq.ParquetWriter(
            folder / FILE, self._schema, compression=compression, use_dictionary=["split"], write_statistics=False
        ) as writer:
            for table in in_processes(partial(self._group, seed), starts, workers):
                writer.write_table(table)
        if self.params.users:
            write_json(folder / TOLD, tastes.told(tastes.users(seed, self.params.users)))

    def users(self, folder: Path) -> Users | None:
        """Return what those who rate say of themselves, where there are any."""
        if not self.params.users:
            return None
        return Users(tastes.TOLD, json.loads((folder / TOLD).read_text(encoding="utf8")))

    def read(self, folder: Path) -> Iterator[RawSample]:
        """Yield the scenes in order, a row group at a time in memory."""
        with pq.ParquetFile(folder / FILE) as file:
            for group in range(file.num_row_groups):
                yield from map(_sample, file.read_row_group(group).to_pylist())

    def field_kinds(self, folder: Path) -> dict[str, str]:
        """Return the columns of the table beside a scene, where there is one."""
        return offers.KINDS if self.params.fields else {}

    def lexicon(self) -> Lexicon:
        """Return what the phrases of the captions say."""
        return lexicon(LANGUAGES[self.params.language], self.params.clips)

    def _group(self, seed: int, start: int) -> pa.Table:
        """Make the scenes of one row group."""
        np.empty(KEPT_BYTES, np.uint8)  # given back at once, which makes the C library keep what is smaller
        stop = min(start + ROWS_PER_GROUP, self.params.samples)
        rows = [self._row(seed, index) for index in range(start, stop)]
        if self.params.users:
            everyone = tastes.users(seed, self.params.users)
            rows = [self._rated(row, seed, index, everyone) for index, row in enumerate(rows, start)]
        return pa.Table.from_pylist(rows, schema=self._schema)

    def _rated(self, row: dict[str, Any], seed: int, index: int, everyone: list[tastes.User]) -> dict[str, Any]:
        """Return a scene in its one medium, with its ratings, and how much each user likes it in its truth."""
        scene = world.sample(seed, index, self.params.max_objects)
        other = {
            name for medium, names in tastes.OF_MEDIUM.items() for name in names if medium != tastes.medium_of(index)
        }
        share = self.params.ratings_per_user / self.params.samples
        found = tastes.ratings(everyone, scene, (seed, index, row["split"]), share)
        liking = {user.name: round(user.liking(scene), 3) for user in everyone}
        truth = json.dumps(json.loads(row["truth"]) | {"liking": liking}, sort_keys=True)
        return {name: value for name, value in row.items() if name not in other} | {
            "truth": truth,
            "ratings": [asdict(rating) for rating in found],
        }

    def _split(self, index: int) -> str:
        """Return a scene's split: of each ten one for validation and one for the test, until there are enough."""
        tens, place = divmod(index, 10)
        enough = isinstance(self.params.held_out, int) and tens >= self.params.held_out
        return "train" if enough else {8: "val", 9: "test"}.get(place, "train")

    def _row(self, seed: int, index: int) -> dict[str, Any]:
        """Make one scene in all its modalities."""
        params, language = self.params, LANGUAGES[self.params.language]
        stream = partial(world.stream, seed, index)
        scene = world.sample(seed, index, params.max_objects)
        if params.clips:
            scene = motion.set_in_motion(scene, stream(Stream.MOTION))
        cause = situation.sample(scene, stream(Stream.SITUATION), params.cue_error)
        phrase = f"{scene.things[0].colour} {scene.things[0].shape}"
        message = messages.message(scene, cause.cues["text"], stream(Stream.MESSAGE))
        said = message.lower() if params.spoken == "message" else phrase
        asked = questions.questions(scene, stream(Stream.QUESTIONS), params.questions_per_image, language)
        offer = offers.sample(scene, stream(Stream.OFFER), params.cue_error) if params.fields else None
        label, best = self._label(scene, cause, offer)
        spoken = speech.speak(said, cause.cues["audio"], stream(Stream.SPEECH))
        truth = world.truth(scene) | {
            "phrase": said,
            "tone": cause.cues["audio"],
            "label_cues": cause.cues,
            "best_label": best,
        }
        if params.targets:
            tone = cause.cues["audio"]
            truth |= {"best_numbers": targets.known(scene, tone), "best_tags": targets.tags(scene, tone)}
        made = targets.targets(scene, cause.cues["audio"], stream(Stream.TARGETS)) if params.targets else {}
        return {
            "sample_id": f"scene-{index:08d}",
            "split": self._split(index),
            "image": draw.render(scene, stream(Stream.DRAWING), params.image_size_px, params.noise),
            "audio": spoken.wav,
            "video": self._clip(scene, stream(Stream.CLIP), stream(Stream.DRAWING)) if params.clips else None,
            "texts": captions.captions(scene, stream(Stream.CAPTIONS), params.captions_per_image, language),
            "message": message,
            "transcript": said,
            "word_times": spoken.word_times,
            "questions": [asdict(question) for question in asked],
            "label": label,
            "oracle": captions.canonical(scene, language),
            "truth": json.dumps(truth, sort_keys=True),
            **({"fields": json.dumps(offer.cells)} if offer else {}),
            **made,
        }

    def _label(self, scene: world.Scene, cause: situation.Situation, offer: offers.Offer | None) -> tuple[str, str]:
        """Return the label, and the best guess of one who knows all that there is to see, hear and read."""
        if self.params.label == "motion":
            return str(scene.things[0].motion), str(scene.things[0].motion)
        if offer and self.params.label == "deal":
            return offer.deal, offer.best
        return cause.label, situation.best_label(cause.cues, self.params.cue_error)

    def _clip(self, scene: world.Scene, rng: np.random.Generator, drawing: np.random.Generator) -> bytes:
        moments = motion.moments(scene, rng)
        frames = draw.paint(scene, moments, drawing, self.params.image_size_px, self.params.noise)
        return clip.encode(frames, motion.RATE_HZ)


def _sample(row: dict[str, Any]) -> RawSample:
    asked = tuple(Question(**question) for question in row["questions"] or ())
    times = tuple(map(tuple, row["word_times"] or ()))
    lists: dict[str, Any] = {"texts": tuple(row["texts"] or ()), "word_times": times, "questions": asked}
    if "fields" in row:
        lists |= {"fields": json.loads(row["fields"])}
    if "numbers" in row:
        lists |= {"numbers": dict(row["numbers"]), "tags": tuple(row["tags"])}
    if "ratings" in row:
        lists |= {"ratings": tuple(Rating(**rating) for rating in row["ratings"] or ())}
    return RawSample(**row | lists | {"truth": json.loads(row["truth"])})
