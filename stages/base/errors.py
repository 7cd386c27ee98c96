"""The error a person can mend: shown as one message, without a traceback."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError


class InputError(ValueError):
    """Something given to a stage is wrong; the message says what, where and what is allowed."""


class MediaError(ValueError):
    """The bytes of an image, a sound or a text cannot be used; the message is the reason."""


def explain(section: type[BaseModel], prefix: str, error: ValidationError) -> list[str]:
    """Put pydantic's findings into one line each: key, what is wrong, what is allowed."""
    lines = []
    for finding in error.errors():
        parts, keys = _walk(section, finding["loc"])
        if finding["type"].startswith("union_tag"):
            parts.append(finding["ctx"]["discriminator"].strip("'"))
        lines.append(f"  {prefix}{'.'.join(parts)}: {_finding(finding, keys)}")
    return lines


def _walk(section: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return the keys on the way to a finding, and all keys that may stand beside the last of them.

    The tag of a discriminated union stands in pydantic's location too, but is no key of the file.
    """
    kind: Any = section
    parts, beside = [], list[str]()
    for part in loc:
        if members := _members(kind):
            kind = next(member for member in members if _is_tagged(member, part))
            kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
            continue
        parts.append(str(part))
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
            kind, beside = fields.get(str(part)), list(fields)
    return parts, beside


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, of an annotated one too; none for what is no union."""
    union = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_args(union) if get_origin(union) in (Union, UnionType) else ()


def _is_tagged(member: Any, tag: int | str) -> bool:
    """Tell whether a member of a union is the one of this tag."""
    if get_origin(member) is Annotated:
        return any(isinstance(note, Tag) and note.tag == tag for note in get_args(member)[1:])
    return any(tag in get_args(field.annotation) for field in member.model_fields.values())


def _finding(finding: Any, keys: list[str]) -> str:
    kind, context, got = finding["type"], finding.get("ctx", {}), finding["input"]
    if kind == "extra_forbidden":
        return f"unknown key; expected one of {', '.join(keys)}"
    if kind in ("missing", "union_tag_not_found"):
        return "missing key; every key of params.yaml must be given"
    if kind == "union_tag_invalid":
        return f"got {context['tag']!r}; expected one of {context['expected_tags']}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"got {got!r}; expected keys with values"
    expected = str(context.get("error", "")) or finding["msg"].removeprefix("Input should be ")
    return f"got {got!r}; expected {expected}"
