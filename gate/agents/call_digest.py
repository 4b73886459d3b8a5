"""Whether two calls do the same: a digest of a tool and of the values that it is called with.

Arguments are compared as values: in any order, spacing and escaping, 1.0 as 1, and what a call leaves out as the value
that it has then, by the tool's schema or by the function's own defaults.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from gate.agents.call_readings import passed
from gate.types import ToolCall


def digest_of(call: ToolCall, defaults: Mapping[str, Any] | None = None) -> str:
    """The same for calls that do the same. ``defaults``: the arguments that a call does not pass, as JSON values."""
    said: Any = call.arguments
    try:
        if passed(call) is not None:
            said = {**_values(json.dumps(dict(defaults or {}))), **_values(call.arguments or "{}")}
        text = json.dumps([call.name, said], sort_keys=True, ensure_ascii=False)
    except RecursionError:  # nobody can say that two of these differ, so they count as the same
        text = json.dumps([call.name, ["nested too deeply"]])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _values(text: str) -> dict[str, Any]:
    """With every whole number as an integer, however it is written."""
    found: dict[str, Any] = json.loads(text, parse_float=_number)
    return found


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def schema_defaults(schema: Any) -> dict[str, Any]:
    """What the schema of a tool says of arguments that a call does not pass."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return {}
    said = {
        name: each["default"] for name, each in properties.items() if isinstance(each, Mapping) and "default" in each
    }
    return _as_json(said)


def signature_defaults(function: Callable[..., Any], leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What a function itself takes for arguments that a call does not pass, as far as that is JSON."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return {}
    said = {name: each.default for name, each in parameters.items() if each.default is not each.empty}
    return _as_json({name: value for name, value in said.items() if name not in leave_out})


def _as_json(said: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in said.items():
        try:
            found[str(name)] = plain(value)
        except (TypeError, ValueError, RecursionError):
            continue
    return found


def plain(value: Any) -> Any:
    """As JSON has it; a pydantic model by its fields. Raises `TypeError` or `ValueError` for what is no JSON."""
    dumped = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    return json.loads(json.dumps(dumped, allow_nan=False))
