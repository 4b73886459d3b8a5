"""JSON lines as documents: one object a line with ``id`` and ``text``, and if you like ``title`` and ``url``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gate.retrieval.documents import Document, LeftOut, paragraphs


@dataclass(frozen=True, slots=True)
class Row:
    """One line."""

    id: str
    text: str
    title: str = ""
    url: str = ""


def row_of(line: str | bytes) -> Row | None:
    """The row that a line holds; None when it is no object with ``id`` and ``text``."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    id_, text = (row.get("id"), row.get("text")) if isinstance(row, dict) else (None, None)
    if not isinstance(id_, str | int) or not isinstance(text, str):
        return None
    title, url = (value if isinstance(value := row.get(name), str) else "" for name in ("title", "url"))
    all_of_it = f"{id_}{text}{title}{url}"
    sound = all_of_it.encode("utf-8", "ignore").decode() == all_of_it  # no half of a surrogate pair
    return Row(str(id_), text, title, url) if sound else None


def documents(path: Path, max_bytes: int) -> Iterator[Document | LeftOut]:
    """The rows of a file, read line by line, and the lines that are none."""
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(max_bytes + 1), b""), 1):
            if len(line) > max_bytes:
                yield LeftOut(
                    f"line {number}", f"is longer than {max_bytes / 1e6:g} MB (--max-file-mb), with all after it"
                )
                return
            if not line.strip():
                continue
            row = row_of(line)
            if row is None:
                yield LeftOut(f"line {number}", 'is not {"id": "…", "text": "…"}')
            elif row.id in seen:
                yield LeftOut(f"line {number}", f"has the id {row.id!r} of a line before it")
            elif not row.text.strip():
                yield LeftOut(f"line {number}", "has an empty text")
            else:
                seen.add(row.id)
                yield Document(row.text, paragraphs(row.text), row.title, row.id, row.url)
