"""BM25 over an in-memory SQLite FTS5 index: lexical retrieval with nothing to install or download."""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from gate.effects import Retrieve
from gate.errors import ConfigError
from gate.pocket import world
from gate.retrieval.folding import folded, folded_words
from gate.retrieval.json_lines import row_of
from gate.types import Passage

MAX_TERMS = 64
"""A longer query is cut to its first distinct words: a bound on work, far above any question."""


class Bm25Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """A JSON-lines file of ``{"id": …, "text": …}``."""


class PocketWorldOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bm25Retriever:
    """Fits `LocalRetriever`. Ranks passages by SQLite's BM25 (k1 = 1.2, b = 0.75).

    A word of the query need not occur in a passage.
    Case, accents and width make no difference. Words are found where spaces or marks part them. The index goes with
    its retriever; ``close`` frees it sooner.
    """

    kind: ClassVar[str] = "bm25"
    Options: ClassVar[type[BaseModel]] = Bm25Options
    embedder: ClassVar[str] = ""

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
                self._index.execute("INSERT INTO passages VALUES (?, ?, ?)", (id_, text, folded(text)))
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def from_options(cls, name: str, options: Bm25Options) -> Self:
        return cls.of_file(name, Path(options.path))

    @classmethod
    def of_file(cls, name: str, path: Path) -> Self:
        """Over a JSON-lines file of ``{"id": …, "text": …}``. Raises `ConfigError` with the line that is broken."""
        return cls(name, _rows(path))

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        return self.search(effect.query, effect.k)

    def search(self, query: str, k: int) -> tuple[Passage, ...]:
        words = dict.fromkeys(folded_words(query))
        if not words:
            return ()
        match = " OR ".join(f'"{word}"' for word in islice(words, MAX_TERMS))  # in quotes nothing is an operator
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


class PocketWorldRetriever(Bm25Retriever):
    """Over the passages that ship with the pocket model."""

    kind: ClassVar[str] = "pocket_world"
    Options: ClassVar[type[BaseModel]] = PocketWorldOptions

    @classmethod
    def from_options(cls, name: str, options: BaseModel) -> Self:  # noqa: ARG003 - as of every retriever
        return cls(name, world.passages())


def _rows(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the passages: {error}", where=str(path)) from error
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        row = row_of(line)
        if row is None:
            raise ConfigError('each line must be {"id": "…", "text": "…"}', where=f"{path}:{number}")
        yield row.id, row.text
