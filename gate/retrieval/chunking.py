"""Documents cut into passages of some 120 to 200 words that know their headings and where they begin.

A passage is a run of the document's own text, within one section. It ends with a paragraph where one ends in time, else
with a sentence; inside a sentence, a code block or a table only where that alone is longer than a passage may be. Where
a section goes on, the next passage begins with the last sentence of the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gate.retrieval.documents import Block, Document, Part

VERSION = "1"
ENOUGH, MOST = 800, 1200
"""Characters, about six to a word: a passage ends with the paragraph that reaches the one, and is never longer than
the other. Counted in characters so that scripts without spaces are cut too."""
_LONGEST_OVERLAP = 300
_SENTENCE = re.compile(
    r"(?:(?<=[.!?\u2026])|(?<=[.!?\u2026][\"')\]\u201d\u2019]))\s+(?=\S)|(?<=[\u3002\uff01\uff1f\u0964])\s*|\n(?=\s*(?:[-*+]|\d+[.)])\s)"
)
_LINE_END = re.compile(r"\n")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage to be: ``text`` stands at ``start`` in the document; ``title`` is the document's and the headings'."""

    text: str
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not cut any more: a sentence, or all of a code block or table that fits."""

    start: int
    end: int
    ends_block: bool
    repeats: bool = False
    """May stand again at the beginning of the next passage."""

    @property
    def size(self) -> int:
        return self.end - self.start


def chunks(document: Document) -> Iterator[Chunk]:
    """The passages of a document, in order."""
    trail: list[Block] = []
    section: list[Block] = []
    for block in document.blocks:
        if block.part is Part.HEADING:
            deeper = bool(trail) and block.level > trail[-1].level
            yield from _of_section(document, trail, section, alone=not deeper)
            section.clear()
            while trail and trail[-1].level >= block.level:
                trail.pop()
            trail.append(block)
        else:
            section.append(block)
    yield from _of_section(document, trail, section, alone=True)


def _of_section(
    document: Document, trail: Sequence[Block], section: Sequence[Block], *, alone: bool
) -> Iterator[Chunk]:
    """``alone``: a heading with nothing beneath it is a passage by itself, so that its words can be found."""
    named = dict.fromkeys(name for name in (document.title, *(block.heading for block in trail)) if name)
    title = " › ".join(named)
    if not section and trail and alone:
        section = [Block(trail[-1].start, trail[-1].end)]
    for start, end in _runs(_units(document.text, section)):
        text = document.text[start:end]
        left = text.lstrip()
        if left:
            yield Chunk(left.rstrip(), title, start + len(text) - len(left))


def _runs(units: Sequence[_Unit]) -> Iterator[tuple[int, int]]:
    """Where passages begin and end."""
    end = units[-1].end if units else 0
    held: list[_Unit] = []
    fresh = False
    for place, unit in enumerate(units):
        if fresh and unit.end - held[0].start > MOST:
            yield held[0].start, held[-1].end
            held = _overlap(held, unit)
            fresh = False
        held.append(unit)
        fresh = True
        rest = end - unit.end
        if unit.ends_block and unit.end - held[0].start >= ENOUGH and rest > MOST // 4 and place + 1 < len(units):
            yield held[0].start, held[-1].end
            held = _overlap(held, units[place + 1])
            fresh = False
    if fresh:
        yield held[0].start, held[-1].end


def _overlap(held: Sequence[_Unit], coming: _Unit) -> list[_Unit]:
    last = held[-1]
    fits = last.size <= _LONGEST_OVERLAP and coming.end - last.start <= MOST
    return [last] if last.repeats and len(held) > 1 and fits else []


def _units(text: str, section: Sequence[Block]) -> list[_Unit]:
    return [unit for block in section for unit in _of_block(text, block)]


def _of_block(text: str, block: Block) -> Iterator[_Unit]:
    start, end = _stripped(text, block.start, block.end)
    if start >= end:
        return
    whole = block.part is Part.WHOLE
    if whole and end - start <= MOST:
        yield _Unit(start, end, ends_block=True)
        return
    for first, last in _cut(text, start, end, _LINE_END if whole else _SENTENCE):
        if last - first <= MOST:
            yield _Unit(first, last, ends_block=last == end, repeats=not whole)
        else:  # a sentence or line that is longer than a passage
            for a, b in _pieces(text, first, last):
                yield _Unit(a, b, ends_block=b == end)


def _cut(text: str, start: int, end: int, where: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Runs between matches, which belong to none."""
    begin = start
    for found in where.finditer(text, start, end):
        if found.start() > begin:
            yield begin, found.start()
        begin = found.end()
    if begin < end:
        yield begin, end


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of at most MOST, cut at the last line end or space in reach, else anywhere."""
    while end - start > MOST:
        most = start + MOST
        at = max(text.rfind("\n", start + MOST // 2, most), text.rfind(" ", start + MOST // 2, most))
        cut = at if at > start else most
        yield start, cut
        start, _ = _stripped(text, cut, end)
    if start < end:
        yield start, end


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The run without the space at both its ends."""
    if found := _SPACE.match(text, start, end):
        start = found.end()
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
