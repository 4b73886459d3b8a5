"""Where each field of a JSON text stands in it, so that it can be told which tokens wrote it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from gate.signals.json_fields import MOST_NAMED, escaped

_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL)
"""A string, a bracket, or a number or a word. What stands between them says nothing more of a text that is JSON."""


@dataclass(slots=True)
class _Open:
    """An object or a list whose end has not come yet."""

    pointer: str
    start: int
    is_object: bool
    held: int = 0
    key: str | None = None
    """The one whose value comes next."""

    def next(self) -> str:
        """The pointer of the value that comes."""
        name = self.key if self.is_object else str(self.held)
        self.held += 1
        self.key = None
        return f"{self.pointer}/{name}"


def places(text: str, at: str = "") -> dict[str, tuple[int, int]]:
    """For each scalar and empty container its place in the text, quotes and brackets included; ``at`` as in `fields`.

    Of a name that stands twice in an object, the last one's, which is the one that counts. The text must be JSON
    (`gate.signals.json_fields.parse_json`). Raises `ValueError` as `gate.signals.json_fields.fields` does.
    """
    found: dict[str, tuple[int, int]] = {}
    opened: list[_Open] = []
    named = 0
    for part in _PART.finditer(text):
        mark = text[part.start()]
        if mark in "}]":
            closed = opened.pop()
            if not closed.held:
                found[closed.pointer] = (closed.start, part.end())
            continue
        inside = opened[-1] if opened else None
        if inside is not None and inside.is_object and inside.key is None:
            inside.key = escaped(json.loads(part[0]))
            continue
        pointer = at if inside is None else inside.next()
        named += 0 if inside is None else len(inside.pointer)
        if named > MOST_NAMED:
            raise ValueError("too many fields with too long names")
        if mark in "{[":
            opened.append(_Open(pointer, part.start(), mark == "{"))
        else:
            found[pointer] = part.span()
    return found
