"""HTML pages as blocks: what is read on a page, without scripts, styles and navigation.

The package that parses them is an extra: the standard library's parser takes the square of a page's length for some.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

from gate.errors import ConfigError, MissingExtra
from gate.retrieval.documents import Block, Document, Part

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "nav", "footer", "iframe", "select", "button"})
_BREAKS = frozenset(
    """
    address article aside blockquote body br dd div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 h6 header hr
    li main ol p pre section table tbody thead tr ul
    """.split()  # noqa: SIM905 - a paragraph reads better than forty quoted words
)
_HEADING = re.compile(r"h([1-6])\Z")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]{1,40})""", re.IGNORECASE)


def charset(page: bytes) -> str:
    """The encoding that a page says it has; UTF-8 when it says none."""
    found = _CHARSET.search(page[:2048])
    return found[1].decode("ascii", "replace") if found else "utf-8"


def document(page: str, name: str) -> Document:
    """The text of a page, titled by its title, else its first heading, else ``name``.

    Raises `MissingExtra` where lxml is not installed.
    """
    if find_spec("lxml") is None:
        raise MissingExtra("lxml", "documents")
    from lxml import etree  # some milliseconds that only who reads HTML pays

    reading = _Reading()
    parser = etree.HTMLParser(target=reading, encoding="utf-8")
    try:
        parser.feed(page.encode("utf-8", "replace"))
        parser.close()
    except etree.LxmlError as error:
        raise ConfigError(f"is no HTML that can be read: {error}") from error
    first = next((block.heading for block in reading.blocks if block.heading), "")
    return Document("".join(reading.pieces), reading.blocks, " ".join(reading.title.split()) or first or name)


class _Reading:
    """Collects the text, with an empty line between blocks, and where they lie in it: what lxml calls a target."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.blocks: list[Block] = []
        self.title = ""
        self._length = 0
        self._words: list[str] = []
        self._skipping = 0
        self._titling = False
        self._level = 0
        self._tables = 0
        self._verbatim = 0

    def start(self, tag: str, attributes: object) -> None:
        if tag in _SKIPPED:
            self._skipping += 1
        self._titling = tag == "title" and not self._skipping
        if tag in {"td", "th"} and self._tables:
            self._words.append(" | " if self._row_begun() else "")
        elif tag in _BREAKS:
            self._break(tag)
            self._tables += tag == "table"
            self._verbatim += tag == "pre"
            if heading := _HEADING.match(tag):
                self._level = int(heading[1])

    def end(self, tag: str) -> None:
        self._titling = False
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _BREAKS:
            self._break(tag)
            if tag == "table":
                self._tables = max(0, self._tables - 1)
            elif tag == "pre":
                self._verbatim = max(0, self._verbatim - 1)
            elif _HEADING.match(tag):
                self._level = 0

    def data(self, data: str) -> None:
        if self._titling:
            self.title += data
        elif not self._skipping:
            self._words.append(data)

    def close(self) -> None:
        """The page is over."""
        self.flush()

    def _row_begun(self) -> bool:
        """Whether the line that is being read of a table holds a cell already."""
        return bool(self._words) and self._words[-1] != "\n"

    def _break(self, tag: str) -> None:
        outermost = tag in {"table", "pre"} and self._tables + self._verbatim <= 1
        if (self._tables or self._verbatim) and not outermost:
            if tag in {"tr", "br"} and self._words and self._words[-1] != "\n":
                self._words.append("\n")
        else:
            self.flush()

    def flush(self) -> None:
        said, whole = "".join(self._words), bool(self._tables or self._verbatim)
        self._words.clear()
        if self._verbatim:
            text = said.strip("\n")
        elif self._tables:
            text = "\n".join(" ".join(line.split()) for line in said.split("\n") if line.strip(" |"))
        else:
            text = " ".join(said.split())
        if not text.strip():
            return
        start, end = self._length, self._length + len(text)
        part = Part.WHOLE if whole else Part.HEADING if self._level else Part.TEXT
        heading = " ".join(text.split()) if part is Part.HEADING else ""
        self.blocks.append(Block(start, end, part, self._level if heading else 0, heading))
        self.pieces += (text, "\n\n")
        self._length = end + 2
