"""What made pictures are measured by, learnt from the real training pictures alone.

Headline `asked_found`: the share of samples in whose picture the judge finds all that the text asks: the objects by
the looks that name them, and their relations; where the data set has no lexicon, the label. An answer brings
`picture` (uint8), `found` (by the judge), `real` (the sample's own, None where it has none), and `pictures` where
several were made from one text.
"""

import json
from collections import defaultdict
from typing import Any

import numpy as np

from stages.base.errors import InputError
from stages.base.lexicon import Lexicon
from stages.models.metrics.pictures import judges
from stages.models.metrics.pictures.distances import frechet, nearest, spread
from stages.models.metrics.pictures.judges import LabelJudge, SceneJudge, Seen
from stages.models.metrics.statements import OBJECT, RELATED, Mention, Reader, Reading
from stages.models.metrics.truth import Judge, Judgement, truth_metrics
from stages.models.tables import PRESENT, Split

FOUND = "asked_found"
MOST_KNOWN = 20_000  # training pictures that are learnt from and compared with
PART, SEED = 1024, 0
ALIKE = 4  # real pictures of one text that are compared with each other
MOST_TEXTS = 200
NEAR = 0.5  # of the median way from a real test picture to the nearest training picture: nearer is a near-copy


def real_pictures(split: Split, target: str, most: int = MOST_KNOWN) -> Seen:
    """Return the pictures of a split, with the rows of the samples that have one."""
    parts, there = [], []
    for samples, _, batch in split.in_order(PART):
        present = batch[target + PRESENT].cpu().numpy()
        parts.append(batch[target].cpu().numpy()[present])
        there += samples[present].tolist()
        if len(there) >= most:
            break
    return Seen(np.concatenate(parts)[:most], [split.rows[i] for i in there[:most]])


def asked_of(row: dict[str, Any]) -> str:
    """Return the text that a sample's picture is asked by; what else it is asked by has no words."""
    return (row.get("texts") or [""])[0] or row.get("message") or row.get("label") or ""


def untold(dataset: str) -> str:
    """Return what is said of a data set in which nothing tells what is in a picture."""
    return (
        f"data set {dataset}: nothing tells what is in a picture, so that made ones cannot be judged; the task "
        f"generate needs labels: for a table name their column in datasets.{dataset}.columns.label"
    )


class Measures:
    """A judge, and the training pictures."""

    def __init__(self, train: Split, target: str, lexicon: Lexicon | None, dataset: str) -> None:
        """Train the judge.

        Raises:
            InputError: when nothing tells what is in a picture.
        """
        self.known, self.lexicon = real_pictures(train, target), lexicon
        self.judge: SceneJudge | LabelJudge
        if lexicon is not None and all(row.get("truth") for row in self.known.rows):
            self.judge, self._reader = SceneJudge(lexicon, self.known), Reader(lexicon)
        elif all(row.get("label") for row in self.known.rows):
            self.judge, self.lexicon = LabelJudge(self.known), None
        else:
            raise InputError(untold(dataset))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Measures":
        """Return itself: nothing in it changes."""
        return self

    def judgement(self, found: Any, row: dict[str, Any]) -> Judgement | None:
        """Return which statements of the sample's text hold for what is found in a picture."""
        if self.lexicon is None or not row.get("tokens"):
            return None
        words = row["tokens"][0].split()
        return Judge(self.lexicon, found).judge(self._reader.read(words), len(words))

    def is_found(self, found: Any, row: dict[str, Any]) -> bool:
        """Tell whether all that the text asks is found, see the module; of a text that asks nothing, nothing is."""
        if self.lexicon is None:
            return found["label"] == row["label"]
        reading = self._reader.read(row["tokens"][0].split() if row.get("tokens") else [])
        named = [
            Mention(frozenset((kind, value) for kind, value in m.looks if kind in self.lexicon.naming), m.words)
            for m in reading.mentions
        ]
        related = [claim for claim in reading.claims if claim.kind == RELATED]
        verdicts = Judge(self.lexicon, found).judge(Reading(named, related, 0), 1).statements
        return bool(verdicts) and all(verdict.holds is True for verdict in verdicts)

    def scores(self, answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return all measures of answers."""
        scores: dict[str, Any] = {FOUND: self.score(answers, rows)}
        scores |= self._told(answers, rows)
        made = np.stack([answer["picture"] for answer in answers])
        real = [answer["real"] for answer in answers if answer.get("real") is not None]
        if len(real) > 3:
            scores |= self._distances(made, np.stack(real))
        several = [answer["pictures"] for answer in answers if len(answer.get("pictures", [])) > 1]
        if several:
            scores["variety"] = float(np.mean([spread(pictures) for pictures in several]))
            alike = self._alike()
            scores |= {"real_variety": float(np.mean([spread(group) for group in alike]))} if alike else {}
        return scores

    def score(self, answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> float:
        """Return the headline."""
        found = [self.is_found(answer["found"], row) for answer, row in zip(answers, rows, strict=True)]
        return float(np.mean(found))

    def _told(self, answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return, where there is a lexicon, the share by number of objects asked, and which statements hold."""
        judgements = [self.judgement(answer["found"], row) for answer, row in zip(answers, rows, strict=True)]
        kept = [(j, i) for i, j in enumerate(judgements) if j is not None]
        if self.lexicon is None or not kept:
            return {}
        by_number: dict[str, list[bool]] = defaultdict(list)
        alone = []
        for judgement, i in kept:
            asked = sum(verdict.kind == OBJECT for verdict in judgement.statements)
            by_number[str(asked)].append(self.is_found(answers[i]["found"], rows[i]))
            alone.append(judgement.objects <= asked)
        told = truth_metrics(self.lexicon, [judgement for judgement, _ in kept])
        shown = ("statements_true", "statements_true_by_kind")
        return {
            f"{FOUND}_by_objects": {number: float(np.mean(found)) for number, found in sorted(by_number.items())},
            "nothing_else": float(np.mean(alone)),
            **{key: told[key] for key in shown},
        }

    def _distances(self, made: np.ndarray, real: np.ndarray) -> dict[str, float]:
        """Return the Frechet distance to real pictures and the way to training pictures, beside those of real ones."""
        drawn = np.random.default_rng(SEED).permutation(len(self.known.pictures))[: len(real)]
        of_made, of_real, of_known = map(self.judge.features, (made, real, self.known.pictures[drawn]))
        way, real_way = self.nearest(made)[1], self.nearest(real)[1]
        return {
            "frechet": frechet(of_made, of_real),
            "frechet_real": frechet(of_known, of_real),
            "nearest_training": float(way.mean()),
            "real_nearest_training": float(real_way.mean()),
            "near_copies": float((way < NEAR * np.median(real_way)).mean()),
        }

    def nearest(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the nearest training picture of each, and how far it is."""
        known = self.known.pictures
        return nearest(pictures, (known[start : start + PART] for start in range(0, len(known), PART)))

    def copied(self, answers: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return by answer the nearest training sample, how far it is, and whether that is a near-copy."""
        number, way = self.nearest(np.stack([answer["picture"] for answer in answers]))
        real = [answer["real"] for answer in answers if answer.get("real") is not None]
        least = NEAR * np.median(self.nearest(np.stack(real))[1]) if real else 0.0
        return {
            "nearest_training": [self.known.rows[i]["sample_id"] for i in number],
            "nearest_distance": way.tolist(),
            "near_copy": (way < least).tolist(),
        }

    def _alike(self) -> list[list[np.ndarray]]:
        """Return training pictures that share a text."""
        by_text: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(self.known.rows):
            for text in set(row.get("tokens") or []):
                by_text[text].append(i)
        groups = [places[:ALIKE] for _, places in sorted(by_text.items()) if len(places) > 1]
        return [[self.known.pictures[i] for i in places] for places in groups[:MOST_TEXTS]]

    def describe(self, found: Any) -> str:
        """Return what is found, in a line."""
        if self.lexicon is None:
            return str(found["label"])
        things = [" ".join(thing[kind] for kind in self.lexicon.naming) for thing in found["objects"]]
        related = [f"{things[one]} {name} {things[other]}" for one, name, other in found["relations"]]
        return "; ".join(related) or " and ".join(things) or "nothing"

    def settings(self) -> dict[str, Any]:
        """Say what the judge is."""
        kind = "the truth of a scene" if self.lexicon else "the label"
        return {
            "judge": f"a small CNN trained on {len(self.known.rows)} real training pictures to read {kind}",
            "frechet": f"of {judges.DIM} features of the judge, in float64; beside it as many real training pictures",
        }


def dumped(found: Any) -> str:
    """Return what is found as it stands in a predictions file."""
    return json.dumps(found, sort_keys=True, ensure_ascii=False)
