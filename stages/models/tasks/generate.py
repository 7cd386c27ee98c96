"""Pictures from texts, or from any other modalities: `target` is what is made, and never read as a condition.

A picture is drawn from noise that its seed alone decides, so that it depends on no other sample of a batch. Shapes: B
samples, K pictures of a sample, L places of what is given, D dim, C channels, H and W pixels.
"""

import base64
import io
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.base.errors import InputError
from stages.base.store import SPLITS
from stages.models.baselines import nearest_texts
from stages.models.encoders.base import Encoded
from stages.models.encoders.cnn import scale_pixels
from stages.models.heads.pictures import PICTURES
from stages.models.metrics.pictures.measures import FOUND, Measures, asked_of, dumped, untold
from stages.models.metrics.truth import Judgement
from stages.models.tables import PRESENT, Split
from stages.models.targets import Fault, Splits, pair_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig, to_look_at
from stages.models.tasks.fused import FusedTask
from stages.params import GenerateParams

SEVERAL = 4  # pictures of one text, where variety is measured
MOST_PICTURES, MOST_SEED = 16, 2**31 - 1
SKETCHED, PER_ROW, SHOWN = 16, 4, 3
BATCH = 256
LIMITS = {"seed": (0, MOST_SEED), "count": (1, MOST_PICTURES)}


class GenerateTask(FusedTask):
    """Encoders whose places all that is drawn attends to, and a head that draws."""

    columns: ClassVar[tuple[str, ...]] = ("texts", "tokens", "message", "label", "truth")
    headline: ClassVar[str] = FOUND
    answer_types: ClassVar[dict[str, str]] = {"images": "strings", "seed": "double"}
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "asked")
    studies: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ("seed", "count")

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and head."""
        super().__init__(config)
        experiment = config.experiment
        assert isinstance(experiment, GenerateParams)
        self.target, self.given = experiment.target, experiment.given()
        self.condition_dropout = experiment.condition_dropout
        self.memory = self.make_memory()
        shape = config.features[self.target].shape
        head = PICTURES[experiment.head]
        self.head = head(shape, experiment.dim, experiment.channels, experiment.attention_heads)
        self.betas = head.betas
        self._measures: Measures | None = None

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the pairs of the target and the rest."""
        assert isinstance(config.experiment, GenerateParams)
        yield from pair_faults(config.experiment.dataset, config.experiment.target, splits)
        if not any(all(row.get(told) for row in splits[SPLITS[0]].rows) for told in ("truth", "label")):
            yield Fault(untold(config.experiment.dataset), fatal=True)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return nothing: the target stands among the features."""
        return {}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the head's loss, of samples that have a picture; in training it may be mirrored, never shifted."""
        there = batch[self.target + PRESENT]
        pictures = scale_pixels(batch[self.target])[there]
        if train is not None and train.flip_fraction:
            mirrored = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < train.flip_fraction
            pictures = torch.where(mirrored, pictures.flip(3), pictures)
        places_BLD = self._places(batch, train)[there]
        if not len(pictures):
            return places_BLD.sum() * 0.0
        return self.head.loss(pictures, places_BLD, train)

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a picture."""
        return int(batch[self.target + PRESENT].sum())

    def _places(self, batch: Batch, train: Any = None, nothing: bool = False) -> Tensor:
        """Return what is attended to; in training some samples, with `nothing` all, are as if nothing were given."""
        encoded = self.encode(batch, train)
        if nothing or (train is not None and self.head.guided and self.condition_dropout):
            size, device = len(batch[self.given[0]]), batch[self.given[0]].device
            rate = 1.0 if nothing else self.condition_dropout
            stays_B1 = torch.rand(size, 1, device=device) >= rate
            encoded = {m: Encoded(e.x_BLD, e.real_BL & stays_B1) for m, e in encoded.items()}
        return self.memory(encoded)

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return `images`, PNGs in base64, by the sample's `seed` and `count` (0 and 1 where not said)."""
        size = len(batch[self.given[0]])
        seeds = batch["seed"].tolist() if "seed" in batch else [0] * size
        counts = batch["count"].tolist() if "count" in batch else [1] * size
        places_BLD = self._places(batch)
        nothing_BLD = self._places(batch, nothing=True) if self.head.guided else places_BLD
        owners = [i for i, count in enumerate(counts) for _ in range(count)]
        noise = np.stack([self._noise(seeds[i], k) for i, count in enumerate(counts) for k in range(count)])
        drawn = []
        for start in range(0, len(owners), evaluate.batch_size):
            mine = torch.tensor(owners[start : start + evaluate.batch_size], device=places_BLD.device)
            part = torch.from_numpy(noise[start : start + evaluate.batch_size]).to(places_BLD.device)
            drawn.append(self.head.draw(part, places_BLD[mine], nothing_BLD[mine], evaluate).clamp(-1, 1))
        pictures = torch.cat(drawn).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        mine_of = [[p for p, owner in zip(pictures, owners, strict=True) if owner == i] for i in range(size)]
        return [
            {"seed": float(seed), "pictures": mine, "images": [base64.b64encode(png(p)).decode() for p in mine]}
            for seed, mine in zip(seeds, mine_of, strict=True)
        ]

    def _noise(self, seed: int, number: int) -> np.ndarray:
        return np.random.default_rng([seed, number]).standard_normal(self.head.noise_shape, dtype=np.float32)

    def read_also(self, given: dict[str, bytes | None]) -> Arrays:
        """Return `seed` and `count` as numbers.

        Raises:
            InputError: when one is none, or not within its bounds.
        """
        return {name: np.array(_number(name, given.get(name)), np.int64) for name in self.also}

    def study(self, train: Split) -> None:
        """Train the judge of pictures on real training pictures."""
        self._measures = Measures(train, self.target, self.lexicon, self.config.experiment.dataset)

    @property
    def measures(self) -> Measures:
        """Return what pictures are measured by."""
        assert self._measures is not None, "`study` comes before any score"
        return self._measures

    def answer(self, split: Split, evaluate: Any) -> Answers:
        """Draw a picture for each sample, by a seed of its id; of those looked at several, which shows variety."""
        answers: Answers = []
        shown = set(to_look_at(split, evaluate.num_samples_shown).tolist())
        for samples, _, batch in split.in_order(evaluate.batch_size):
            seeds = [seed_of(split.rows[i]["sample_id"]) for i in samples]
            counts = [SEVERAL if i in shown else 1 for i in samples.tolist()]
            told = {"seed": torch.tensor(seeds), "count": torch.tensor(counts)}
            answers += [a | {"picture": a["pictures"][0]} for a in self.predict(batch | told, evaluate)]
        asked = [{"asked_words": row["tokens"][0].split() if row.get("tokens") else []} for row in split.rows]
        parts = zip(answers, asked, self._real(split), strict=True)
        return self._judge([answer | words | real for answer, words, real in parts])

    def _real(self, split: Split) -> Answers:
        """Return by sample `real`, its own picture, None where it has none."""
        found: Answers = []
        for _, _, batch in split.in_order(BATCH):
            there = batch[self.target + PRESENT].tolist()
            pictures = batch[self.target].cpu().numpy()
            found += [{"real": picture if own else None} for picture, own in zip(pictures, there, strict=True)]
        return found

    def _judge(self, answers: Answers) -> Answers:
        """Add what the judge finds in each picture."""
        found = self.measures.judge.find(np.stack([answer["picture"] for answer in answers]))
        return [answer | {"found": one} for answer, one in zip(answers, found, strict=True)]

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what the judge finds, Frechet distance, the way to the nearest training picture, and variety."""
        return self.measures.scores(answers, rows)

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the share of pictures in which all that is asked is found."""
        return self.measures.score(answers, rows)

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return, for each test text, the picture of the training sample whose text has most words in common."""
        known = self.measures.known
        places = nearest_texts(test.rows, known.rows)
        if places is None:
            return {}
        found = [{"picture": known.pictures[i], **real} for i, real in zip(places, self._real(test), strict=True)]
        return {"nearest_training_text": self._judge(found)}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return what the judge finds in the real test pictures."""
        real = self._real(test)
        there = [i for i, answer in enumerate(real) if answer["real"] is not None]
        found = self._judge([{"picture": real[i]["real"]} for i in there])
        return self.metrics(found, [test.rows[i] for i in there])

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name, of several given modalities, each alone."""
        return {f"only_{m}": (m,) for m in self.given} if len(self.given) > 1 else {}

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say what judged, and how pictures were drawn."""
        steps = {"steps": evaluate.steps, "guidance": evaluate.guidance} if self.head.guided else {}
        return {**self.measures.settings(), **steps, "noise": "by a seed of the sample's id"}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample: the picture as PNG, and what is found in it."""
        pairs = list(zip(answers, rows, strict=True))
        return {
            "sample_id": [row["sample_id"] for row in rows],
            "asked": [asked_of(row) for row in rows],
            "image": [png(answer["picture"]) for answer in answers],
            "seed": [int(answer["seed"]) for answer in answers],
            "found": [dumped(answer["found"]) for answer in answers],
            FOUND: [float(self.measures.is_found(answer["found"], row)) for answer, row in pairs],
            **self.measures.copied(answers),
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return what the judge finds."""
        found = self.measures.is_found(answer["found"], row)
        return [Line(self.measures.describe(answer["found"]), asked_of(row), found, asked="the judge finds")]

    def made(self, answer: dict[str, Any]) -> list[bytes]:
        """Return an answer's pictures as PNG."""
        return [png(picture) for picture in answer["pictures"][:SHOWN]]

    def judged(self, answer: dict[str, Any], row: dict[str, Any]) -> Judgement | None:
        """Return which statements of the text hold for what is found."""
        return self.measures.judgement(answer["found"], row)

    def sketch(self, split: Split, evaluate: Any) -> bytes | None:
        """Return a sheet of what is drawn for some samples, as PNG."""
        samples, _, batch = next(split.in_order(SKETCHED, to_look_at(split, SKETCHED)))
        seeds = torch.tensor([seed_of(split.rows[i]["sample_id"]) for i in samples])
        pictures = [answer["pictures"][0] for answer in self.predict(batch | {"seed": seeds}, evaluate)]
        return png(sheet(pictures))


def _number(name: str, data: bytes | None) -> int:
    """Return a whole number that is given as its digits; the least there may be, where it is not given."""
    least, most = LIMITS[name]
    if data is None:
        return least
    text = data.decode("utf8", errors="replace").strip()
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"{name}: got {text[:40]!r}; expected a whole number from {least} to {most}")
    return int(text)


def seed_of(sample_id: str) -> int:
    """Return the seed of a sample's picture."""
    return zlib.crc32(sample_id.encode()) & MOST_SEED


def png(picture: np.ndarray) -> bytes:
    """Return a uint8 picture (H, W, 3) as PNG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """Put pictures into rows of four, with a light edge, each doubled."""
    framed = [np.pad(p.repeat(2, 0).repeat(2, 1), ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pictures]
    blank = [np.full_like(framed[0], 255)] * (-len(framed) % PER_ROW)
    rows = [framed[start : start + PER_ROW] for start in range(0, len(framed), PER_ROW)]
    rows[-1] = rows[-1] + blank
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])
