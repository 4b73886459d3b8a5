"""PDF files as blocks, page by page. The package that reads them is an extra."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from gate.errors import ConfigError, MissingExtra
from gate.retrieval.documents import Block, Document, Part, paragraphs

_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What a broken file makes of the reader, beside its own errors."""


def document(path: Path, name: str) -> Document:
    """The text of all pages, each under a heading that says which.

    Raises `MissingExtra` where pypdf is not installed, `ConfigError` for a file that is locked, broken or without text.
    """
    if find_spec("pypdf") is None:
        raise MissingExtra("pypdf", "documents")
    from pypdf.errors import PyPdfError  # a tenth of a second that only who reads PDF pays

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is told once, by us
    try:
        title, pages = _read(path)
    except (PyPdfError, *_BROKEN) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"is no PDF that can be read ({type(error).__name__})") from error
    if not any(page.strip() for page in pages):
        raise ConfigError("holds no text: scanned pages need text recognition first")
    return Document("".join(f"{page}\n\n" for page in pages), list(_blocks(pages)), title or name)


def _read(path: Path) -> tuple[str, list[str]]:
    from pypdf import PdfReader

    with path.open("rb") as file:
        reader = PdfReader(file, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise ConfigError("is locked by a password")
        title = reader.metadata.title if reader.metadata else None
        pages = [_sound(page.extract_text()) for page in reader.pages]
    return _sound(title) if isinstance(title, str) else "", pages


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()


def _blocks(pages: list[str]) -> Iterator[Block]:
    start = 0
    for number, page in enumerate(pages, 1):
        yield Block(start, start, Part.HEADING, 1, f"page {number}")
        yield from (Block(start + block.start, start + block.end) for block in paragraphs(page))
        start += len(page) + 2
