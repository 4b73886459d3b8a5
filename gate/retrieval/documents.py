"""What a file is read into before it is cut into passages: text, and what its parts are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")


class Part(Enum):
    """What a block is."""

    HEADING = "heading"
    TEXT = "text"
    WHOLE = "whole"
    """Code or a table: cut only where it is too long, and then between lines."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of a document's text, ``text[start:end]``. A heading has its depth and what it says."""

    start: int
    end: int
    part: Part = Part.TEXT
    level: int = 0
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its blocks in order. ``id`` and ``url`` are those that a row of a table gave it."""

    text: str
    blocks: Iterable[Block]
    title: str = ""
    id: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a file that could not be used, and why; the rest of the file is used."""

    where: str
    reason: str


def paragraphs(text: str) -> Iterator[Block]:
    """Plain text, parted by empty lines."""
    return (Block(found.start(), found.end()) for found in _PARAGRAPH.finditer(text))
