"""PostgreSQL: full-text search, and nearest vectors (pgvector) beside it, fused by reciprocal ranks.

Fusion is sum 1/(60 + rank) over both lists (Cormack, Clarke and Büttcher 2009). The driver is psycopg, an extra. Where
the database is stands in an environment variable, which may hold a password: it is in no error and in no log.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from gate.effects import Retrieve
from gate.errors import MissingExtra, UpstreamError, UpstreamTimeout
from gate.http_wire import masked, secret_of
from gate.retrieval.search_wire import Described, sendable, vector_of
from gate.types import Passage

if TYPE_CHECKING:
    from psycopg import Connection, Error, sql

Identifier = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=63)]
_RANK = 60
_IDLE = 4
"""Connections that are kept open."""
_CONNECT_SECONDS = 5
_DISTANCES = {"cosine": "<=>", "inner_product": "<#>", "euclidean": "<->"}


class PgVectorOptions(Described):
    """Identifiers are taken as they are and quoted: upper case and spaces in them count."""

    dsn_env: str = Field(min_length=1)
    """The environment variable that holds the address, as ``postgresql://user:password@host/database``."""
    table: Identifier
    in_schema: Identifier | None = None
    """Where the table is, when not on the search path."""
    id: Identifier = "id"
    """Unique."""
    text: Identifier = "text"
    title: Identifier | None = None
    url: Identifier | None = None
    tsvector: Identifier | None = None
    """A column of the text's words, for speed; without one they are found as the search goes."""
    language: str = Field(default="english", pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=63)
    """The text search configuration: ``english``, ``german``, ``simple`` …"""
    words: Literal["any", "websearch"] = "any"
    """``any``: every word of the query counts and none must occur, as in BM25. ``websearch``: all must, and quotes,
    ``or`` and ``-`` mean what they mean to search engines."""
    vector: Identifier | None = None
    """A pgvector column, of vectors by ``embedder``."""
    distance: Literal["cosine", "inner_product", "euclidean"] = "cosine"
    depth: int = Field(default=50, ge=1, le=1000)
    """How many of each list are fused; at least k."""
    seconds: float = Field(default=5, gt=0, le=600)
    """The longest a statement may take: the server breaks it off then."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if bool(self.embedder) != (self.vector is not None):
            raise ValueError("'embedder' and 'vector' go together")
        return self


@dataclass(frozen=True)
class PgVector:
    """Fits `LocalRetriever`: it speaks PostgreSQL's own protocol, on the thread that drivers give it.

    Connections are opened by the first search, kept, and opened anew when one was lost.
    """

    kind: ClassVar[str] = "pgvector"
    Options: ClassVar[type[BaseModel]] = PgVectorOptions

    name: str
    options: PgVectorOptions
    dsn: str = field(repr=False)
    _idle: list[Connection[Any]] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def from_options(cls, name: str, options: PgVectorOptions) -> Self:
        """Raises `MissingExtra` where psycopg is not installed; connects to nothing."""
        if find_spec("psycopg") is None:
            raise MissingExtra("psycopg", "postgres")
        made = cls(name, options, secret_of(options.dsn_env, "the address of the database"))
        weakref.finalize(made, _close, made._idle)  # connections go with their retriever
        return made

    @property
    def embedder(self) -> str:
        return self.options.embedder

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind)

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        if cancelled():
            raise UpstreamError(self.name, "was cancelled")
        asked: dict[str, Any] = {"query": sendable(effect.query), "k": effect.k}
        asked["depth"] = max(effect.k, self.options.depth)
        if self.options.vector is not None:
            asked["vector"] = str(vector_of(self.name, effect.vector))  # as pgvector writes them: [0.6, 0.8]
        rows = self._rows(asked)
        made = (Passage(str(row[0]), *_cleaned(*row[1:])) for row in rows)
        return tuple(passage for passage in made if passage.text.strip())

    def close(self) -> None:
        """Close what is open; a later search opens it again."""
        with self._lock:
            _close(self._idle)

    def _rows(self, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
        import psycopg

        with self._failing():
            while True:
                connection, kept = self._connected()
                whole = False
                try:
                    found = self._select(connection, asked)
                    whole = True
                    return found
                except psycopg.OperationalError:
                    if not (kept and connection.broken):
                        raise
                    # it was closed while nobody used it: so may all others be, and one is new at last
                finally:
                    self._put_back(connection, whole=whole)

    def _select(self, connection: Connection[Any], asked: dict[str, Any]) -> list[tuple[Any, ...]]:
        limit = f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {max(1, round(self.options.seconds * 1000))}"
        with connection.transaction():
            connection.execute(limit.encode())
            return connection.execute(statement(self.options), asked).fetchall()

    def _connected(self) -> tuple[Connection[Any], bool]:
        """A connection, and whether it had been kept."""
        import psycopg

        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        made = psycopg.connect(
            self.dsn,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            client_encoding="utf8",
            application_name="gate",
            prepare_threshold=None,  # poolers between here and there do not hold them
        )
        return made, False

    def _put_back(self, connection: Connection[Any], *, whole: bool) -> None:
        with self._lock:
            if whole and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """psycopg's errors as gate's own. Its words name hosts and users, and may hold the address: they stay here."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise self._told(error) from None

    def _told(self, error: Error) -> UpstreamError:
        import psycopg

        code = error.sqlstate
        said = masked(error.diag.message_primary or "", self.dsn)
        if isinstance(error, psycopg.errors.QueryCanceled):
            return UpstreamTimeout(self.name, f"found nothing within {self.options.seconds:g} s")
        if code is None and isinstance(error, psycopg.OperationalError):
            where = f"is it running, and the address in {self.options.dsn_env!r} right?"
            return UpstreamError(self.name, f"cannot be reached ({where})", retryable=True)
        if code is None:
            where = f"is the address in {self.options.dsn_env!r} right?"
            return UpstreamError(self.name, f"failed: {type(error).__name__} ({where})")
        if code.startswith("28"):
            return UpstreamError(self.name, f"refused the user or password in {self.options.dsn_env!r}", said=said)
        if code.startswith("42"):
            cause = f"has no such table or column, or does not let it be read: {type(error).__name__} ({code})"
            return UpstreamError(self.name, cause, said=said)
        passing = code[:2] in {"08", "40", "53", "57"}  # connections, rollbacks, resources, shutting down
        return UpstreamError(self.name, f"failed: {type(error).__name__} ({code})", said=said, retryable=passing)


def _close(connections: list[Connection[Any]]) -> None:
    while connections:
        connections.pop().close()


def _cleaned(text: Any, title: Any, url: Any, score: Any) -> tuple[str, float, str, str]:
    """The rest of a row, as a passage takes it."""
    text, title, url = ("" if value is None else sendable(str(value)) for value in (text, title, url))
    return text, float(score), title, url


def statement(options: PgVectorOptions) -> sql.Composed:
    """The search. It takes ``query``, ``k``, ``depth`` and, with a vector column, ``vector``."""
    from psycopg import sql

    def column(name: str) -> sql.Composable:
        return sql.Identifier("docs", name)

    language = sql.Literal(options.language)
    parts: dict[str, sql.Composable] = {
        "table": sql.Identifier(*filter(None, (options.in_schema, options.table))),
        "id": column(options.id),
        "text": column(options.text),
        "title": column(options.title) if options.title else sql.SQL("''"),
        "url": column(options.url) if options.url else sql.SQL("''"),
        "rank": sql.Literal(_RANK),
        "asked": sql.SQL(_ANY if options.words == "any" else _WEBSEARCH).format(language=language),
        "words": sql.SQL(_WORDS).format(language=language, text=column(options.text)),
    }
    if options.tsvector is not None:
        parts["words"] = column(options.tsvector)
    if options.vector is None:
        return sql.SQL(_BY_WORDS).format(**parts)
    parts |= {"vector": column(options.vector), "operator": sql.SQL(_DISTANCES[options.distance])}
    return sql.SQL(_BY_BOTH).format(**parts)


_WORDS = "to_tsvector({language}::regconfig, coalesce({text}, ''))"
_WEBSEARCH = "websearch_to_tsquery({language}::regconfig, %(query)s)"
_ANY = "replace(plainto_tsquery({language}::regconfig, %(query)s)::text, ' & ', ' | ')::tsquery"
_BY_WORDS = """
WITH gate_asked AS (SELECT {asked} AS words)
SELECT {id}, {text}, {title}, {url}, ts_rank({words}, gate_asked.words, 1) AS gate_score
FROM {table} AS docs, gate_asked WHERE {words} @@ gate_asked.words
ORDER BY gate_score DESC, {id} LIMIT %(k)s"""
_BY_BOTH = """
WITH gate_asked AS (SELECT {asked} AS words),
gate_worded AS (
  SELECT {id} AS key, ts_rank({words}, gate_asked.words, 1) AS score
  FROM {table} AS docs, gate_asked WHERE {words} @@ gate_asked.words
  ORDER BY score DESC, key LIMIT %(depth)s
),
gate_nearest AS (
  SELECT {id} AS key, {vector} {operator} %(vector)s::vector AS apart
  FROM {table} AS docs WHERE {vector} IS NOT NULL
  ORDER BY {vector} {operator} %(vector)s::vector LIMIT %(depth)s
),
gate_ranked AS (
  SELECT key, row_number() OVER (ORDER BY score DESC, key) AS place FROM gate_worded
  UNION ALL SELECT key, row_number() OVER (ORDER BY apart, key) AS place FROM gate_nearest
),
gate_fused AS (SELECT key, sum(1.0 / ({rank} + place)) AS score FROM gate_ranked GROUP BY key)
SELECT {id}, {text}, {title}, {url}, gate_fused.score
FROM gate_fused JOIN {table} AS docs ON {id} = gate_fused.key
ORDER BY gate_fused.score DESC, {id} LIMIT %(k)s"""
