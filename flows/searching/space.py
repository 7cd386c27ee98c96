"""The search file: which values of an experiment are tried, checked by name before anything runs.

It names values by their keys in params.yaml, each with a range or the choices. What an experiment is compared on, its
data, its seed and what picks its best epoch, is the same in every trial and may not be named.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.searching.params_text import Value, edited
from stages.base.errors import InputError, explain
from stages.params import Params, Section, load_params

FIXED = ("task", "dataset", "train.seed", "train.monitor", "train.devices")
EXAMPLE = "train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}"
MOST_TRIED = 9  # values of a range that params.yaml is asked about
DIGITS = 3  # of a drawn number: more are not worth reading


class Interval(Section):
    """Numbers from `low` to `high`, both included; whole ones where `low`, `high` and the value that stands are."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def fault(self) -> str:
        """Return what is wrong with it; empty when nothing is."""
        if isinstance(self.low, bool) or isinstance(self.high, bool) or self.low >= self.high:
            return f"got low {self.low} and high {self.high}; expected two numbers, the first below the second"
        if self.log and self.low <= 0:
            return f"got low {self.low}; expected more than 0 with log"
        if self.step is not None and (self.log or self.step <= 0):
            return f"got step {self.step}; expected more than 0, and none with log"
        return ""


Range = Interval | tuple[Value, ...]


@dataclass(frozen=True)
class Space:
    """What is searched: by key of params.yaml the range, and the value that stands there now."""

    experiment: str
    ranges: dict[str, Range]
    defaults: dict[str, Value]

    def short(self, key: str) -> str:
        """Return a key without what all have in common."""
        return key.removeprefix(f"experiments.{self.experiment}.")

    def is_whole(self, key: str) -> bool:
        """Tell whether a key's range holds whole numbers alone."""
        found = self.ranges[key]
        numbers = (found.low, found.high, found.step or 1) if isinstance(found, Interval) else ()
        return bool(numbers) and all(isinstance(number, int) for number in (*numbers, self.defaults[key]))

    def rounded(self, key: str, value: Value) -> Value:
        """Return a drawn value as it is tried: real numbers in a few digits, but never outside of the range."""
        found = self.ranges[key]
        if not isinstance(found, Interval) or not isinstance(value, float) or value == self.defaults[key]:
            return value
        digits = f".{DIGITS}g" if found.step is None else ".10g"  # steps add up to 0.30000000000000004
        return min(max(float(format(value, digits)), float(found.low)), float(found.high))


def read_space(path: Path, params: Params, params_text: str, name: str) -> Space:
    """Read what the search file names for an experiment; what it names for others is left alone.

    Raises:
        InputError: naming every key that is unknown, and every range that params.yaml would refuse.
    """
    if name not in params.experiments:
        raise InputError(f"experiments has no {name!r}; expected one of {', '.join(params.experiments)}")
    own, lines = f"experiments.{name}.", []
    ranges: dict[str, Range] = {}
    defaults: dict[str, Value] = {}
    for key, raw in _load(path).items():
        if fault := _misplaced(str(key), name, params):
            lines.append(f"  {key}: {fault}")
        elif str(key).startswith(own):
            ranges[key], faults = _range(key, raw)
            defaults[key], more = _default(params, name, key.removeprefix(own))
            lines += [f"  {line}" for line in [*faults, *(f"{key}: {fault}" for fault in more)]]
    if not lines and not ranges:
        lines.append(f"  nothing to search for {name}; name a key and its range, such as\n    {own}{EXAMPLE}")
    space = Space(name, ranges, defaults)
    lines = lines or [f"  {line}" for key in ranges for line in _refused(space, key, params_text)]
    if lines:
        raise InputError("\n".join([f"{path}:", *lines]))
    return space


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; write one with keys of params.yaml and their ranges, such as\n"
            f"  experiments.<name>.{EXAMPLE}"
        ) from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected keys of params.yaml with their ranges, found {raw!r}")
    return raw


def _misplaced(key: str, name: str, params: Params) -> str:
    """Say why a key can be searched for no experiment, or not for this one; empty when it can."""
    section, _, rest = key.partition(".")
    if section == "train":
        return f"other experiments are trained with it too; expected experiments.{name}.{key}"
    if section != "experiments" or "." not in rest:
        return f"expected a value of an experiment, such as experiments.{name}.{EXAMPLE.partition(':')[0]}"
    other, _, inner = rest.partition(".")
    if other == name and inner in FIXED:
        return "is the same in every trial, else their scores would not compare"
    return ""


def _range(key: str, raw: Any) -> tuple[Range, list[str]]:
    """Return a key's range, and what is wrong with it."""
    if isinstance(raw, list):
        plain = all(isinstance(value, Value) for value in raw)
        fine = plain and len(raw) > 1 and len({repr(value) for value in raw}) == len(raw)
        return tuple(raw), [] if fine else [f"{key}: got {raw}; expected two or more plain values, each once"]
    if not isinstance(raw, dict) or not {"low", "high"} <= raw.keys():
        return (), [f"{key}: got {raw!r}; expected {{low: .., high: ..}} or a list of choices"]
    try:
        found = Interval.model_validate(raw)
    except ValidationError as error:
        return (), [line.strip() for line in explain(Interval, f"{key}.", error)]
    return found, [f"{key}: {fault}"] if (fault := found.fault()) else []


def _default(params: Params, name: str, key: str) -> tuple[Value, list[str]]:
    """Return the value that stands in params.yaml, the section `train` included, or why none does."""
    found: Any = params.experiments[name].model_dump() | {"train": params.train_of(name).model_dump()}
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            known = f"expected one of {', '.join(found)}" if isinstance(found, dict) else f"{found!r} has no keys"
            return "", [f"unknown key {part!r}; {known}"]
        found = found[part]
    return (found, []) if isinstance(found, Value) else ("", [f"holds {found!r}; expected the key of a plain value"])


def _refused(space: Space, key: str, params_text: str) -> Iterator[str]:
    """Yield a line for a range without the value that stands, and for each of its values that params.yaml refuses."""
    found, stands = space.ranges[key], space.defaults[key]
    if not _holds(found, stands):
        yield f"{key}: params.yaml says {stands!r}, the first trial, and the range lacks it; add it"
    for value in _samples(space, key):
        yield from refusals(edited(params_text, {key: value}))


def refusals(params_text: str) -> list[str]:
    """Return what is wrong with the text of a params file, a line for each fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_text(params_text, encoding="utf8")
        try:
            load_params(path)
        except InputError as error:
            return [line.strip() for line in str(error).splitlines()[1:]]
    return []


def _holds(found: Range, value: Value) -> bool:
    if not isinstance(found, Interval):
        return value in found
    if isinstance(value, bool | str) or not found.low <= value <= found.high:
        return False
    steps = (value - found.low) / (found.step or 1)
    return found.step is None or abs(steps - round(steps)) < 1e-6


def _samples(space: Space, key: str) -> list[Value]:
    """Return the choices, or a range's ends and, of whole numbers, some between."""
    found = space.ranges[key]
    if not isinstance(found, Interval):
        return list(found)
    if not space.is_whole(key):
        return [float(found.low), float(found.high)]
    every = range(int(found.low), int(found.high) + 1, int(found.step or 1))
    return sorted({every[place * (len(every) - 1) // MOST_TRIED] for place in range(MOST_TRIED + 1)})
