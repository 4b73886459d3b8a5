"""What is wrong with the arguments of a call under the schema of its tool, argument by argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gate.signals.json_schema import Unjudged, fits

_SHARED = ("$schema", "$defs", "definitions")
"""What an argument's part of a schema may refer to."""


def problems(arguments: Any, schema: Any) -> tuple[str, ...]:
    """Why the arguments do not fit, each naming its argument; empty where they do. No value is quoted.

    Raises `Unjudged` where that cannot be said: a broken schema, or one that costs too much.
    """
    if fits(arguments, schema):
        return ()
    if not isinstance(arguments, Mapping) or not isinstance(schema, Mapping):
        return ("the arguments are no JSON object",)
    return tuple(_named(arguments, schema)) or ("the arguments do not fit the schema together",)


def _named(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    required, properties = schema.get("required"), schema.get("properties")
    known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    for name in required if isinstance(required, list) else ():
        if name not in arguments:
            yield f"the argument {name!r} is missing"
    shared = {key: schema[key] for key in _SHARED if key in schema}
    for name, value in arguments.items():
        if name in known:
            if not _fits_alone(name, value, {**shared, "properties": {name: known[name]}}):
                yield f"the argument {name!r} does not fit its schema"
        elif schema.get("additionalProperties") is False:
            yield f"there is no argument {name!r}"


def _fits_alone(name: str, value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        return fits({name: value}, schema)
    except Unjudged:  # refers to another part of the schema: the whole was judged, this argument cannot be
        return True
