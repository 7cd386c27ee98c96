"""A network that reads the truth of a scene from its picture: which objects, what of each, how they are related.

An object is named by the looks of `Lexicon.naming`, such as colour and shape. Each cell of the grid tells how much it
is an object's and of which looks; a name is there where a cell says so. What else is said of an object is read where
its name is seen. Shapes: B pictures, L cells, D dim, C names, O objects of a sample, R relations.
"""

import itertools
import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.base.lexicon import Lexicon
from stages.models.encoders.base import EncoderSize, FeatureSpec
from stages.models.encoders.cnn import CNN

NO = -1  # where nothing is known
MOST_OBJECTS = 8


class SceneNet(nn.Module):
    """Grid features, then linear readings of cells, of objects, of pairs of them, and of the whole."""

    def __init__(self, lexicon: Lexicon, spec: FeatureSpec, dim: int) -> None:
        """Build for uint8 pictures, with a class for each value that the lexicon knows."""
        super().__init__()
        self.naming = {kind: sorted(lexicon.looks[kind]) for kind in lexicon.naming}
        self.names = list(itertools.product(*self.naming.values()))
        others = {kind: phrases for kind, phrases in lexicon.looks.items() if kind not in self.naming}
        self.beside = {kind: sorted(phrases) for kind, phrases in (others | lexicon.beside).items()}
        self.whole = {kind: sorted(phrases) for kind, phrases in lexicon.scene.items()}
        self.relations, self.inverse = sorted(lexicon.relations), lexicon.inverse
        self.trunk = CNN(spec, EncoderSize(dim, 1, 1, 0.0))
        self.object = nn.Linear(dim, 1)
        nn.init.constant_(self.object.bias, -4.0)  # most names are not there
        self.looks = nn.ModuleDict({kind: nn.Linear(dim, len(values)) for kind, values in self.naming.items()})
        self.told = nn.ModuleDict({kind: nn.Linear(dim, len(values)) for kind, values in self.beside.items()})
        self.scene = nn.ModuleDict({kind: nn.Linear(2 * dim, len(values)) for kind, values in self.whole.items()})
        self.pair = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, len(self.relations) + 1))

    def _maps(self, grid_BLD: Tensor) -> Tensor:
        """Return how much each cell is of an object of each name, (B, C, L)."""
        shares = [self.looks[kind](grid_BLD).log_softmax(-1) for kind in self.naming]
        joint = torch.zeros(*grid_BLD.shape[:2], 1, device=grid_BLD.device)
        for share in shares:
            joint = (joint.unsqueeze(-1) + share.unsqueeze(-2)).flatten(2)
        return (joint + self.object(grid_BLD)).transpose(1, 2)

    def _seen(self, grid_BLD: Tensor, maps_BCL: Tensor, names_BO: Tensor) -> Tensor:
        """Return the features where each object is seen, (B, O, D)."""
        own_BOL = maps_BCL.gather(1, names_BO.clamp_min(0).unsqueeze(-1).expand(-1, -1, maps_BCL.shape[2]))
        return own_BOL.softmax(-1) @ grid_BLD

    def _pairs(self, seen_BOD: Tensor) -> Tensor:
        """Return scores of the relation of each object to each other, (B, O, O, R + 1)."""
        objects = seen_BOD.shape[1]
        one, other = seen_BOD.unsqueeze(2), seen_BOD.unsqueeze(1)
        return self.pair(torch.cat([one.expand(-1, -1, objects, -1), other.expand(-1, objects, -1, -1)], dim=-1))

    def targets(self, truths: list[str]) -> dict[str, Tensor]:
        """Turn truths, as JSON, into numbers; what is not known is NO."""
        known = [json.loads(truth) for truth in truths]
        most = max(1, min(MOST_OBJECTS, max(len(truth.get("objects", [])) for truth in known)))
        found = {"names": np.full((len(known), most), NO), "pairs": np.full((len(known), most, most), NO)}
        found |= {f"told.{kind}": np.full((len(known), most), NO) for kind in self.beside}
        found |= {f"scene.{kind}": np.full(len(known), NO) for kind in self.whole}
        for i, truth in enumerate(known):
            things = truth.get("objects", [])[:most]
            for o, thing in enumerate(things):
                name = tuple(thing.get(kind) for kind in self.naming)
                found["names"][i, o] = self.names.index(name) if name in self.names else NO
                for kind, values in self.beside.items():
                    found[f"told.{kind}"][i, o] = _number(values, thing.get(kind))
            for kind, values in self.whole.items():
                found[f"scene.{kind}"][i] = _number(values, truth.get(kind))
            if "relations" in truth:
                self._relate(found["pairs"][i], truth["relations"], len(things))
        return {key: torch.from_numpy(value) for key, value in found.items()}

    def _relate(self, pairs_OO: np.ndarray, relations: list[Any], objects: int) -> None:
        """Fill in how objects are related; the last class is: in no way that has a name."""
        pairs_OO[:objects, :objects] = len(self.relations)
        np.fill_diagonal(pairs_OO, NO)
        for one, name, other in relations:
            if max(one, other) < objects:
                pairs_OO[one, other] = _number(self.relations, name)
                pairs_OO[other, one] = _number(self.relations, self.inverse.get(name))

    def loss(self, images: Tensor, targets: dict[str, Tensor], at: np.ndarray) -> Tensor:
        """Return the sum of the mean losses of all readings, of the samples of these numbers."""
        mine = {key: value[at] for key, value in targets.items()}
        grid_BLD = self.trunk(images)
        maps_BCL = self._maps(grid_BLD)
        names_BO = mine["names"]
        there_BC = torch.zeros(len(images), len(self.names) + 1).scatter_(1, names_BO % (len(self.names) + 1), 1.0)
        total = F.binary_cross_entropy_with_logits(maps_BCL.logsumexp(2), there_BC[:, :-1], reduction="sum")
        total = total / len(images)
        seen_BOD = self._seen(grid_BLD, maps_BCL, names_BO)
        for kind in self.beside:
            total = total + _known_loss(self.told[kind](seen_BOD), mine[f"told.{kind}"])
        for kind in self.whole:
            total = total + _known_loss(self.scene[kind](_pooled(grid_BLD)), mine[f"scene.{kind}"])
        return total + _known_loss(self._pairs(seen_BOD), mine["pairs"])

    def read(self, images: Tensor) -> list[dict[str, Any]]:
        """Return the truth as it is seen, see `base.lexicon`; the surest objects first."""
        grid_BLD = self.trunk(images)
        maps_BCL = self._maps(grid_BLD)
        sure_BC, order_BC = maps_BCL.logsumexp(2).sort(1, descending=True)
        names_BO = order_BC[:, :MOST_OBJECTS]
        seen_BOD = self._seen(grid_BLD, maps_BCL, names_BO)
        told = {kind: self.told[kind](seen_BOD).argmax(-1).tolist() for kind in self.beside}
        whole = {kind: self.scene[kind](_pooled(grid_BLD)).argmax(-1).tolist() for kind in self.whole}
        pairs = self._pairs(seen_BOD).argmax(-1).tolist()
        counts = (sure_BC[:, :MOST_OBJECTS] > 0).sum(1).tolist()
        found = []
        for i, (count, names) in enumerate(zip(counts, names_BO.tolist(), strict=True)):
            things = [
                dict(zip(self.naming, self.names[names[o]], strict=True))
                | {kind: values[told[kind][i][o]] for kind, values in self.beside.items()}
                for o in range(count)
            ]
            related = [
                [one, self.relations[pairs[i][one][other]], other]
                for one, other in itertools.combinations(range(count), 2)
                if pairs[i][one][other] < len(self.relations)
            ]
            scene = {kind: values[whole[kind][i]] for kind, values in self.whole.items()}
            found.append({"objects": things, "relations": related, **scene})
        return found


def _pooled(grid_BLD: Tensor) -> Tensor:
    return torch.cat([grid_BLD.mean(1), grid_BLD.amax(1)], dim=-1)


def _number(values: list[str], value: str | None) -> int:
    return values.index(value) if value in values else NO


def _known_loss(logits: Tensor, numbers: Tensor) -> Tensor:
    known = numbers != NO
    return F.cross_entropy(logits[known], numbers[known]) if known.any() else logits.sum() * 0.0
