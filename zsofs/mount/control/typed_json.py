"""Dataclasses as JSON objects, between programs that may be of different versions.

Unknown fields are ignored; missing fields, and fields of another type, get their defaults.
"""

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

_NUMBER_LIMIT = 1 << 63

_Part = TypeVar("_Part")


def decoded(kind: type[_Part], fields: Mapping[str, object], malformed: set[str]) -> _Part:
    """Return a part with the fields of a reply that have its names; the others have defaults.

    Args:
        kind: a dataclass with a default for each field.
        fields: a JSON object.
        malformed: receives the names of fields with values of another type.
    """
    values: dict[str, Any] = {}
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        if one.name in fields:
            try:
                values[one.name] = _value(one.type, fields[one.name])
            except TypeError:
                malformed.add(one.name)
    return kind(**values)


def _value(kind: object, found: object) -> object:
    """Return a JSON value as the type of a field.

    Raises:
        TypeError: it is of another type, or a number out of range.
    """
    if get_origin(kind) is tuple and isinstance(found, list):
        return tuple(_item(get_args(kind)[0], one) for one in found)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(found, dict):
        return decoded(kind, found, set())
    if kind is int or kind is float:
        if not isinstance(found, int | float) or not abs(found) < _NUMBER_LIMIT:  # NaN is not less
            raise TypeError
        return int(found) if kind is int else float(found)
    if isinstance(kind, type | UnionType) and isinstance(found, kind):
        return found
    raise TypeError


def _item(kind: object, found: object) -> object:
    """Return an item of a list; a row of another type is kept with default values."""
    is_row = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return _value(kind, {} if is_row and not isinstance(found, dict) else found)


def encoded(part: object) -> dict[str, Any]:
    """Return the fields of a dataclass, for json.dumps."""
    fields = dataclasses.fields(part)  # type: ignore[arg-type]
    return {one.name: _encoded(getattr(part, one.name)) for one in fields}


def _encoded(value: object) -> object:
    """Return a value of a field."""
    if isinstance(value, tuple):
        return [_encoded(one) for one in value]
    return encoded(value) if dataclasses.is_dataclass(value) else value
