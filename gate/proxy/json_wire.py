"""JSON as it stands on the wire: bodies read strictly, replies and server-sent events written. Pure.

A body that names a field twice is refused: parsers differ in which of the two they take, so what gate judges need not
be what an upstream answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from gate.errors import RequestError

MAX_DEPTH = 64
"""Levels of objects and lists in a request, the body itself included. The deepest tool schemas have about twenty."""
_SHOWN = 40
_LOOKED_THROUGH = 2**20
"""Bytes of a body in which the name of a field that stands twice is looked for: that takes far longer than reading."""
_QUOTE_BY_NUMBER = re.compile(rb"(?<!\\)(?:\\\\)*\\u0022")
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: clients skip it, and proxies between see that the stream lives."""


def loads(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body.

    Raises `RequestError` for what is no JSON object, is nested deeper than `MAX_DEPTH`, or names a field twice.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(data):
        raise RequestError(f"the body is nested too deep: at most {MAX_DEPTH} levels of objects and lists are taken")
    if _quotes(body) != orjson.dumps(data).count(b'"'):
        raise _twice(body)
    return data


def _quotes(body: bytes) -> int:
    """How many quotes stand in the body's strings and around them, once each is spelt as orjson spells it.

    orjson drops the name and the value of a field that comes again: with no fewer quotes, nothing was dropped.
    """
    count = body.count(b'"')
    return count + len(_QUOTE_BY_NUMBER.findall(body)) if b"\\u0022" in body else count


def _too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _twice(body: bytes) -> RequestError:
    def once(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names if len({*names}) != len(names) else ():
            if names.count(name) > 1:
                shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
                raise RequestError(f"the field {shown!r} stands twice in one object", param=shown)

    try:
        if len(body) <= _LOOKED_THROUGH:
            json.loads(body.decode(), object_pairs_hook=once, parse_int=str, parse_float=str)
    except RequestError as error:
        return error
    return RequestError("a field stands twice in one object")


def dumps(data: Any, option: int | None = None) -> bytes:
    """JSON for the wire. A lone surrogate, which some models emit and JSON cannot hold, becomes a question mark."""
    try:
        return orjson.dumps(data, option=option)
    except TypeError:
        return orjson.dumps(_sound(data), option=option)


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_sound(k): _sound(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return value


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event, with its name where the dialect gives it one."""
    head = b"event: " + event.encode() + b"\ndata: " if event else b"data: "
    return head + dumps(data) + b"\n\n"
