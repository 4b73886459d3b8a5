"""Files as documents, by the ending of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gate.errors import ConfigError
from gate.retrieval import html_pages, json_lines, markdown, pdf
from gate.retrieval.documents import Document, LeftOut, paragraphs

_MARKDOWN = frozenset({".md", ".markdown"})
_TEXT = frozenset({".txt", ".text", ".rst"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_PDF = frozenset({".pdf"})
READ = _MARKDOWN | _TEXT | _HTML | _JSON_LINES | _PDF
"""The endings of files that are read."""


def documents(path: Path, max_bytes: int) -> Iterator[Document | LeftOut]:
    """What a file holds. Raises `ConfigError` with the reason when nothing of it can be used."""
    suffix = path.suffix.casefold()
    if suffix not in READ:
        raise ConfigError(f"is none of the kinds that are read: {', '.join(sorted(READ))}")
    try:
        size = path.stat().st_size
        if not size:
            raise ConfigError("is empty")
        if suffix in _JSON_LINES:
            yield from json_lines.documents(path, max_bytes)
            return
        if size > max_bytes:
            raise ConfigError(f"has {size / 1e6:.0f} MB, more than the {max_bytes / 1e6:g} of --max-file-mb")
        yield pdf.document(path, path.stem) if suffix in _PDF else _written(path, suffix)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or type(error).__name__}") from error


def _written(path: Path, suffix: str) -> Document:
    raw = path.read_bytes()
    text = _decoded(raw, html_pages.charset(raw) if suffix in _HTML else "utf-8")
    if "\0" in text:
        raise ConfigError("is binary: it holds bytes of zero")
    if not text.strip():
        raise ConfigError("is empty")
    if suffix in _HTML:
        page = html_pages.document(text, path.stem)
        if not page.blocks:
            raise ConfigError("holds no text")
        return page
    return markdown.document(text, path.stem) if suffix in _MARKDOWN else Document(text, paragraphs(text), path.stem)


def _decoded(raw: bytes, declared: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if declared.casefold() not in {"utf-8", "utf8"}:
            try:
                return raw.decode(declared)
            except (LookupError, UnicodeDecodeError):
                raise ConfigError(f"is not in the encoding it declares, {declared!r}") from None
        raise ConfigError(f"is not UTF-8 (byte {error.start + 1}): convert it, or take it out") from error
