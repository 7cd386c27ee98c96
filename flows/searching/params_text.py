"""Single values of params.yaml replaced in its text, so that comments and layout stay and a diff is short."""

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from stages.base.errors import InputError

Value = bool | int | float | str


def edited(text: str, changes: dict[str, Value]) -> str:
    """Return the text with the value at each `section.key` replaced, or added where its section lacks the key.

    Raises:
        InputError: when the text alone cannot be edited so, as where an anchor is used again.
    """
    wanted = _loaded(text)
    for place, value in changes.items():
        *sections, key = place.split(".")
        wanted = _with_entry(wanted, sections, key, value)
        text = _with_value(text, sections, key, value)
    try:
        if _loaded(text) == wanted:
            return text
    except YAMLError:
        pass
    raise InputError(f"params.yaml: {', '.join(changes)} cannot be replaced one by one; write these sections plainly")


def _loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _with_entry(values: dict[str, Any], sections: list[str], key: str, value: Value) -> dict[str, Any]:
    """Return a copy with the value, in which nothing else changes, whatever shares a section by an anchor."""
    if not sections:
        return {**values, key: value}
    name, *inner = sections
    return {**values, name: _with_entry(values[name], inner, key, value)}


def _with_value(text: str, sections: list[str], key: str, value: Value) -> str:
    node = YAML().compose(text)
    for name in sections:
        node = _entries(node)[name]
    found = _entries(node).get(key)
    if found is not None:
        return text[: found.start_mark.index] + _scalar(value) + text[found.end_mark.index :]
    if node.flow_style:
        place, before = node.end_mark.index - 1, ", " if node.value else ""
        return f"{text[:place]}{before}{key}: {_scalar(value)}{text[place:]}"
    first = node.value[0][0].start_mark
    return f"{text[: first.index]}{key}: {_scalar(value)}\n{' ' * first.column}{text[first.index :]}"


def _entries(node: Node) -> dict[str, Any]:
    assert isinstance(node, MappingNode)
    return {key.value: value for key, value in node.value}


def _scalar(value: Value) -> str:
    """Return a value as YAML writes it, floats such as 1.0e-05 for every reader of YAML."""
    if isinstance(value, float) and "e" in (shown := repr(value)) and "." not in shown:
        return shown.replace("e", ".0e")
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 10_000
    yaml.dump([value], out)
    return out.getvalue().removeprefix("- ").rstrip("\n")
