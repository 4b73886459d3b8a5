"""BM25 over an in-memory SQLite FTS5 index: lexical retrieval with nothing to install or download."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import unicodedata
import weakref
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from threading import Lock

from gate.errors import ConfigError
from gate.pocket import world
from gate.types import Passage

_MAX_TERMS = 64
"""A longer query is cut to its first distinct words: a bound on work, far above any question."""


class Bm25Retriever:
    """Ranks passages by SQLite's BM25 (k1 = 1.2, b = 0.75). A word of the query need not occur in a passage.

    Case, accents and width make no difference. Words are found where spaces or marks part them. The index goes with
    its retriever; ``close`` frees it sooner.
    """

    def __init__(self, name: str, passages: Iterable[tuple[str, str]]) -> None:
        self.name = name
        self._lock = Lock()
        # one connection, guarded by the lock: searching takes well under a millisecond
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        self._closing = weakref.finalize(self, self._index.close)
        self._index.execute("CREATE VIRTUAL TABLE passages USING fts5(id UNINDEXED, text UNINDEXED, folded)")
        digest = hashlib.sha256()
        with self._index:
            for id_, text in passages:
                digest.update(f"{id_}\0{text}\0".encode())
                self._index.execute("INSERT INTO passages VALUES (?, ?, ?)", (id_, text, _folded(text)))
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def of_pocket_world(cls, name: str) -> Bm25Retriever:
        """Over the passages that ship with the pocket model."""
        return cls(name, world.passages())

    @classmethod
    def of_file(cls, name: str, path: Path) -> Bm25Retriever:
        """Over a JSON-lines file of ``{"id": …, "text": …}``. Raises `ConfigError` with the line that is broken."""
        return cls(name, _rows(path))

    def search(self, query: str, k: int) -> tuple[Passage, ...]:
        words = dict.fromkeys(_words(query))
        if not words:
            return ()
        match = " OR ".join(f'"{word}"' for word in islice(words, _MAX_TERMS))  # in quotes nothing is an operator
        with self._lock:
            rows = self._index.execute(
                "SELECT id, text, -bm25(passages) FROM passages WHERE passages MATCH ? ORDER BY rank, rowid LIMIT ?",
                (match, k),
            ).fetchall()
        return tuple(Passage(*row) for row in rows)

    def close(self) -> None:
        """Free the index: nothing can be found any more. Closing twice does nothing."""
        with self._lock:
            self._closing()


def _folded(text: str) -> str:
    """Without case, accents and width, for comparing."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(c for c in apart if not unicodedata.combining(c)))


def _words(query: str) -> list[str]:
    """Parted by whatever is no letter, digit or part of one; a word of marks alone is none."""
    parted = "".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in _folded(query))
    return [word for word in parted.split() if any(map(str.isalnum, word))]


def _rows(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the passages: {error}", where=str(path)) from error
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        row = _row(line)
        if row is None:
            raise ConfigError('each line must be {"id": "…", "text": "…"}', where=f"{path}:{number}")
        yield row


def _row(line: str) -> tuple[str, str] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    id_, text = (row.get("id"), row.get("text")) if isinstance(row, dict) else (None, None)
    if not isinstance(id_, str | int) or not isinstance(text, str):
        return None
    sound = (str(id_) + text).encode("utf-8", "ignore").decode() == str(id_) + text  # no half of a surrogate pair
    return (str(id_), text) if sound else None
