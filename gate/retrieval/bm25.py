"""BM25 over an in-memory SQLite FTS5 index: lexical retrieval with nothing to install or download."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from gate.errors import ConfigError
from gate.pocket import world
from gate.types import Passage

_WORD = re.compile(r"\w+")
_MAX_TERMS = 64
"""A longer query is cut to its first distinct words: a bound on work, far above any question."""


class Bm25Retriever:
    """Ranks passages by SQLite's BM25 (k1 = 1.2, b = 0.75). A word of the query need not occur in a passage."""

    def __init__(self, name: str, passages: Iterable[tuple[str, str]]) -> None:
        self.name = name
        self._lock = Lock()
        # one connection, guarded by the lock: searching takes well under a millisecond
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        self._index.execute("CREATE VIRTUAL TABLE passages USING fts5(id UNINDEXED, text, tokenize = 'unicode61')")
        digest = hashlib.sha256()
        with self._index:
            for id_, text in passages:
                digest.update(f"{id_}\0{text}\0".encode())
                self._index.execute("INSERT INTO passages VALUES (?, ?)", (id_, text))
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
        words = list(dict.fromkeys(_WORD.findall(query.casefold())))[:_MAX_TERMS]
        if not words:
            return ()
        match = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            rows = self._index.execute(
                "SELECT id, text, -bm25(passages) FROM passages WHERE passages MATCH ? ORDER BY rank, rowid LIMIT ?",
                (match, k),
            ).fetchall()
        return tuple(Passage(*row) for row in rows)

    def close(self) -> None:
        self._index.close()


def _rows(path: Path) -> Iterable[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the passages: {error}", where=str(path)) from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            yield str(row["id"]), str(row["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError('each line must be {"id": …, "text": …}', where=f"{path}:{number}") from error
