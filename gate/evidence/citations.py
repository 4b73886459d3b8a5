"""Citations: the ``[1]`` behind a statement that names the passage it stands in, where a prompt numbers passages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from gate.effects import Effect, Flow, Generate, Reply, Together, advance, driven
from gate.types import Generation

T = TypeVar("T")
MARKER = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
"""One number or several, with the space before them."""


def said(generation: Generation) -> str:
    """The text of an answer, without its citations where it was asked for them."""
    return without_markers(generation.text) if generation.cites else generation.text


def without_markers(text: str) -> str:
    """The text without its citations. What they are all of stays, and so does JSON, where ``[1]`` is a list."""
    if "[" not in text or _is_json(text):
        return text
    bare = MARKER.sub("", text)
    return bare if bare.strip() else text


def numbers(text: str) -> tuple[int, ...]:
    """The numbers cited, each once, in the order in which they stand."""
    return tuple(dict.fromkeys(number for _, _, number in places(text)))


def places(text: str) -> Iterator[tuple[int, int, int]]:
    """Where each citation begins and ends, and the number it names. JSON holds none."""
    if "[" not in text or _is_json(text):
        return
    for found in MARKER.finditer(text):
        begin = found.end() - len(found[0].lstrip())
        yield from ((begin, found.end(), int(number)) for number in found[1].split(","))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def citing(flow: Flow[T]) -> Flow[T]:
    """The flow; the answers it gets are marked as asked to cite."""
    return (yield from driven(flow, advance(flow, None, None), _marking))


def _marking(effect: Effect) -> Flow[Any]:
    if isinstance(effect, Together):
        return (yield Together(tuple(map(citing, effect.flows))))
    reply = yield effect
    return marked(reply) if isinstance(effect, Generate) else reply


def marked(reply: Reply[Any]) -> Reply[Any]:
    """The reply with its answers marked as asked to cite."""
    choices = tuple(replace(choice, cites=True) for choice in reply.value.choices)
    return replace(reply, value=replace(reply.value, choices=choices))
