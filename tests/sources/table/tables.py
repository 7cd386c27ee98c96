"""Five tables of 200 rows as people of several countries write them, made from a seed, and what each column is."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

ROWS = 200
FIRST = date(2023, 1, 1)


@dataclass
class Column:
    """A column: its name, kind, how a value is written, values, and the share of empty cells and what stands there."""

    name: str
    kind: str  # of a field; or label, id, text
    values: list[Any]
    write: Callable[[Any], str] = str
    empty: float = 0.0
    nothing: str = ""


def _pick(rng: np.random.Generator, *options: Any) -> list[Any]:
    return [options[i] for i in rng.integers(len(options), size=ROWS)]


def _days(rng: np.random.Generator) -> list[date]:
    return [FIRST + timedelta(days=int(n)) for n in rng.integers(0, 700, ROWS)]


def _comma(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def _prices(rng: np.random.Generator) -> list[float]:
    return np.exp(rng.normal(5, 2, ROWS)).round(2).tolist()


def _square(value: float) -> str:
    return f"{_comma(value, 1)} m²"


def _rent(value: float) -> str:
    return f"{value:,.0f} €".replace(",", "\u202f")


def _degrees(value: float) -> str:
    return f"{_comma(value, 1)} °C"


def german(rng: np.random.Generator) -> list[Column]:
    return [
        Column("Artikelnr", "left out", [f"A-{10_000 + i * 7}" for i in range(ROWS)]),
        Column(
            "Preis",
            "number",
            _prices(rng),
            lambda v: f"{_comma(v)} €",
            0.1,
            "k. A.",
        ),
        Column("Gewicht", "number", rng.uniform(0.1, 30, ROWS).round(1).tolist(), lambda v: f"{_comma(v, 1)} kg", 0.05),
        Column("Marke", "category", _pick(rng, "Bosch", "Miele", "AEG", "Gorenje")),
        Column("Gekauft am", "date", _days(rng), lambda v: f"{v.day}.{v.month}.{v.year}", 0.1, "-"),
        Column("Garantie", "boolean", _pick(rng, True, False), lambda v: "ja" if v else "nein"),
        Column("Klasse", "label", _pick(rng, "gut", "mittel", "schlecht")),
    ]


def american(rng: np.random.Generator) -> list[Column]:
    return [
        Column("customer id", "left out", [str(i) for i in rng.permutation(90_000)[:ROWS]]),
        Column("income", "number", rng.uniform(8e3, 3e5, ROWS).round().tolist(), lambda v: f"${v:,.0f}", 0.1, "N/A"),
        Column("rate", "number", rng.uniform(0, 30, ROWS).round(1).tolist(), lambda v: f"{v:g}%"),
        Column("signed up", "date", _days(rng), lambda v: f"{v.month}/{v.day}/{v.year}"),
        Column("plan", "category", _pick(rng, "basic", "Plus", "PRO"), empty=0.1),
        Column("active", "boolean", _pick(rng, True, False), lambda v: "Yes" if v else "No", 0.05, "?"),
        Column("country", "left out", ["US"] * ROWS),
        Column("sentiment", "label", _pick(rng, "pos", "neg")),
    ]


def french(rng: np.random.Generator) -> list[Column]:
    rooms = rng.integers(1, 7, ROWS).tolist()
    return [
        Column("surface", "number", rng.uniform(9, 250, ROWS).round(1).tolist(), _square, 0.1, "NC"),
        Column(
            "loyer",
            "number",
            rng.uniform(300, 4000, ROWS).round().tolist(),
            _rent,
        ),
        Column("pièces", "number", rooms),
        Column("meublé", "boolean", _pick(rng, True, False), lambda v: "oui" if v else "non"),
        Column("disponible", "date", _days(rng), lambda v: v.strftime("%d/%m/%y"), 0.1),
        Column("code postal", "category", _pick(rng, "01000", "06200", "75011", "69003")),
        Column("annonce", "left out", [f"bel appartement numéro {i} près de la gare" for i in range(ROWS)]),
        Column("catégorie", "label", _pick(rng, "ville", "campagne")),
    ]


def chinese(rng: np.random.Generator) -> list[Column]:
    return [
        Column("编号", "left out", list(range(1, ROWS + 1))),
        Column("价格", "number", rng.uniform(1, 5e4, ROWS).round(2).tolist(), lambda v: f"¥{v:,.2f}", 0.1),
        Column("城市", "category", _pick(rng, "北京", "上海", "广州")),
        Column("日期", "date", _days(rng), lambda v: f"{v.year}年{v.month}月{v.day}日", 0.05, "-"),
        Column("会员", "boolean", _pick(rng, True, False), lambda v: "是" if v else "否"),
        Column("标签", "label", _pick(rng, "好", "坏")),
    ]


def spanish(rng: np.random.Generator) -> list[Column]:
    labels = _pick(rng, "alta", "media", "baja")
    return [
        Column(
            "temperatura",
            "number",
            rng.normal(15, 12, ROWS).round(1).tolist(),
            _degrees,
            0.1,
            "NA",
        ),
        Column("humedad", "number", rng.integers(0, 101, ROWS).tolist(), lambda v: f"{v} %"),
        Column("viento", "category", _pick(rng, "norte", "sur", "este", "oeste"), empty=0.1),
        Column("hora", "date", _days(rng), lambda v: f"{v.isoformat()} {v.day % 24:02d}:30"),
        Column("lluvia", "boolean", _pick(rng, True, False), lambda v: "sí" if v else "no"),
        Column("código", "left out", [{"alta": "1", "media": "2", "baja": "3"}[label] for label in labels]),
        Column("clase", "label", labels),
    ]


TABLES = {"german": german, "american": american, "french": french, "chinese": chinese, "spanish": spanish}
DELIMITERS = {"german": ";", "american": ",", "french": ";", "chinese": ",", "spanish": "\t"}


def written(name: str, seed: int) -> tuple[list[Column], list[list[str]], str]:
    """Return a table's columns, its cells row by row, and its text."""
    rng = np.random.default_rng([seed, len(name)])
    columns = TABLES[name](rng)
    cells = [
        [column.nothing if rng.random() < column.empty else column.write(column.values[i]) for column in columns]
        for i in range(ROWS)
    ]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=DELIMITERS[name], lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    writer.writerows(cells)
    return columns, cells, out.getvalue()
