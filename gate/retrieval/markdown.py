"""Markdown as blocks: headings, paragraphs, and code and tables that are kept whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gate.retrieval.documents import Block, Document, Part

_LINE = re.compile(r"[^\n]*\n?")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*\r?\n?\Z")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*\r?\n?\Z")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(?:(?!---)[^\n]*\n){0,200}?---[ \t]*(?:\r?\n|\Z)")
_FRONT_TITLE = re.compile(r"""^title:[ \t]*["']?([^\n\r]*?)["']?[ \t]*\r?$""", re.MULTILINE)
_MARKUP = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


def document(text: str, name: str) -> Document:
    """The text as it stands, titled by its front matter, else by its first heading of level one, else by ``name``."""
    front = _FRONT_MATTER.match(text)
    titled = _FRONT_TITLE.search(front[0]) if front else None
    title = titled[1] if titled else ""
    blocks = list(_Reading(text, front.end() if front else 0).blocks())
    first = next((b.heading for b in blocks if b.part is Part.HEADING and b.level == 1 and b.heading), "")
    return Document(text, blocks, title or first or name)


class _Reading:
    """Goes through the lines once. ``_open`` is the block that is being read, from where, and in how many lines."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start
        self._open: Part | None = None
        self._from = start
        self._lines = 0
        self._fence = ""

    def blocks(self) -> Iterator[Block]:
        for found in _LINE.finditer(self._text, self._start):
            line, start, end = found[0], found.start(), found.end()
            if self._fence:
                self._lines += 1
                if line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
                    self._fence = ""
                    yield from self._closed(end)
            else:
                yield from self._line(line, start, end)
        yield from self._closed(len(self._text))

    def _line(self, line: str, start: int, end: int) -> Iterator[Block]:
        if heading := _HEADING.match(line):
            yield from self._closed(start)
            yield Block(start, end, Part.HEADING, len(heading[1]), _plain(heading[2] or ""))
        elif fence := _FENCE.match(line):
            yield from self._closed(start)
            self._fence = fence[1]
            self._begin(Part.WHOLE, start)
        elif not line.strip():
            yield from self._closed(start)
        elif self._open is Part.TEXT and self._lines == 1 and (under := _UNDERLINE.match(line)):
            said = _plain(self._text[self._from : start])
            self._open = None
            yield Block(self._from, end, Part.HEADING, 1 if under[1][0] == "=" else 2, said)
        else:
            part = Part.WHOLE if line.lstrip().startswith("|") else Part.TEXT
            if self._open is not part:
                yield from self._closed(start)
                self._begin(part, start)
            self._lines += 1

    def _begin(self, part: Part, start: int) -> None:
        self._open, self._from, self._lines = part, start, 0

    def _closed(self, end: int) -> Iterator[Block]:
        if self._open is not None and self._text[self._from : end].strip():
            yield Block(self._from, end, self._open)
        self._open = None


def _plain(heading: str) -> str:
    return " ".join(_MARKUP.sub(lambda found: found[1] or "", heading).split())
