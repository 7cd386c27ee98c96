"""The table beside a scene: its first object is on offer, and whether that is a good deal takes picture and table.

What it is worth depends on its shape, which the picture shows, and on material and use, which stand in the table; the
price stands there too. Price by worth makes the deal. Now and then the deal is drawn at random, and the material
is not always given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import exp, log

import numpy as np

from stages.sources.scenes.world import Options, Scene, pick

KINDS = {"price": "number", "material": "category", "used": "boolean", "listed": "date", "stock": "number"}
DEALS = {"bargain": (0.5, 0.75), "fair": (0.88, 1.14), "dear": (1.33, 2.0)}
"""By deal, from which to which share of its worth an object costs."""
WORTH = {"triangle": 10.0, "circle": 18.0, "square": 32.0, "cross": 56.0, "ring": 100.0}
MATERIALS: Options = (("wood", 0.4), ("metal", 0.3), ("glass", 0.2), ("marble", 0.1))
FACTORS = {"wood": 1.0, "metal": 1.8, "glass": 0.6, "marble": 3.2}
USED_FACTOR = 0.5
ROUNDED = 0.005
"""What a price of two digits may be off, as a share of the least worth."""
USED = 0.4
"""The chance that an object is used, as the next are those that a cell is empty."""
NO_MATERIAL, NO_STOCK = 0.05, 0.2
FIRST_DAY, DAYS = date(2024, 1, 1), 731


@dataclass(frozen=True)
class Offer:
    """The cells of a scene's table, by column, the deal that it is, and the best guess of one who knows the worths."""

    cells: dict[str, str]
    deal: str
    best: str


def sample(scene: Scene, rng: np.random.Generator, cue_error: float) -> Offer:
    """Offer the first object of a scene; `cue_error` is the chance that the deal is drawn at random."""
    material, used = pick(rng, MATERIALS), bool(rng.random() < USED)
    deal = list(DEALS)[rng.integers(len(DEALS))]
    low, high = DEALS[deal]
    share = exp(rng.uniform(log(low), log(high)))
    price = WORTH[scene.things[0].shape] * FACTORS[material] * (USED_FACTOR if used else 1.0) * share
    cells = {
        "price": f"{price:.2f}",
        "material": material,
        "used": "yes" if used else "no",
        "listed": (FIRST_DAY + timedelta(days=int(rng.integers(DAYS)))).isoformat(),
        "stock": str(rng.integers(1, 40)),
    }
    for name, chance in (("material", NO_MATERIAL), ("stock", NO_STOCK)):
        if rng.random() < chance:
            del cells[name]
    if rng.random() < cue_error:
        deal = list(DEALS)[rng.integers(len(DEALS))]
    return Offer(cells, deal, best_deal(scene.things[0].shape, cells))


def best_deal(shape: str | None, cells: Mapping[str, str]) -> str:
    """Return the most probable deal given the shape and the cells, the first of equals; None is an unknown shape."""
    worths = [WORTH[shape]] if shape else list(WORTH.values())
    factors = {cells["material"]: 1.0} if "material" in cells else dict(MATERIALS)
    used = USED_FACTOR if cells["used"] == "yes" else 1.0
    chances = dict.fromkeys(DEALS, 0.0)
    for worth in worths:
        for material, weight in factors.items():
            share = float(cells["price"]) / (worth * FACTORS[material] * used)
            for deal, (low, high) in DEALS.items():
                chances[deal] += weight * (low - ROUNDED <= share <= high + ROUNDED) / log(high / low)
    return max(chances, key=lambda deal: round(chances[deal], 12))
