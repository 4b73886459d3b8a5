"""PostgreSQL: run on a real server, with pgvector where it is installed and with a stand-in of it where not."""

from __future__ import annotations

import gc
import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from gate.drivers import World
from gate.effects import Reply, Retrieve, retrieve
from gate.errors import ConfigError, MissingExtra, UpstreamError, UpstreamTimeout
from gate.retrieval import PgVector
from gate.types import Passage, Vector
from tests.drivers.running import both, run
from tests.postgres import postgres

DOCS = [
    ("lagos", "Lagos is a city in Nigeria.", "Lagos", "http://x/1", "[1,0]"),
    ("abuja", "Abuja is the capital of Nigeria.", None, None, "[0.9,0.1]"),
    ("paris", "Paris is the capital of France.", "Paris", "http://x/3", "[0,1]"),
    ("blank", None, None, None, "[0.8,0.2]"),
    ("bare", "A passage nobody embedded: Nigeria, Nigeria, Nigeria.", None, None, None),
]


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres() as address:
        _fill(address)
        yield address


def _fill(address: str) -> None:
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE docs (id text PRIMARY KEY, text text, title text, url text, embedding vector)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO docs VALUES (%s, %s, %s, %s, %s::vector)", DOCS)
        connection.execute('CREATE SCHEMA "My docs"')
        connection.execute(
            'CREATE TABLE "My docs"."a ""b""; --" ("Key" int PRIMARY KEY, "The text" text, words tsvector)'
        )
        connection.execute(
            'INSERT INTO "My docs"."a ""b""; --" VALUES (1, \'It is raining\', to_tsvector(\'english\', \'sunny\'))'
        )
        connection.execute("CREATE VIEW slow AS SELECT 'a' AS id, 'Nigeria' || pg_sleep(5)::text AS text")


@pytest.fixture
def made() -> Iterator[list[PgVector]]:
    retrievers: list[PgVector] = []
    yield retrievers
    for each in retrievers:
        each.close()


@pytest.fixture
def make(dsn: str, made: list[PgVector], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DOCS_DSN", dsn)

    def build(**options: Any) -> PgVector:
        given = {"dsn_env": "DOCS_DSN", "table": "docs", **options}
        made.append(PgVector.from_options("mine", PgVector.Options.model_validate(given)))
        return made[-1]

    return build


def found(retriever: PgVector, query: str, k: int = 9, vector: Vector | None = None) -> list[str]:
    return [passage.id for passage in retriever.complete(Retrieve("mine", query, k, vector), lambda: False)]


@both
def test_words_are_searched_and_the_best_come_first(make: Any, threaded: bool) -> None:
    world = World({}, {"mine": make(title="title", url="url")})
    reply, _ = run(world, retrieve(Retrieve("mine", "Is Lagos in Nigeria?", 2)), threaded=threaded)
    assert isinstance(reply, Reply)
    first, second = reply.value
    assert first == Passage("lagos", "Lagos is a city in Nigeria.", first.score, "Lagos", "http://x/1")
    assert (second.title, second.source) == ("", "")
    assert first.score > second.score > 0


def test_any_word_will_do_or_all_must_be_there_as_in_search_engines(make: Any) -> None:
    assert set(found(make(), "the capital of Nigeria")) == {"abuja", "bare", "lagos", "paris"}
    engine = make(words="websearch")
    assert found(engine, "the capital of Nigeria") == ["abuja"]
    assert found(engine, "capital -nigeria") == ["paris"]


@pytest.mark.parametrize(
    "query",
    ["", "the of", "zebra", "'; DROP TABLE docs; --", "& | ! ( :* <->", "\0 \ud800", "x" * 100_000, "%s %(k)s {id}"],
)
def test_any_text_is_only_searched_for(make: Any, query: str) -> None:
    assert found(make(), query) == found(make(words="websearch"), query) == []


def test_the_words_kept_in_a_column_are_those_that_count_and_names_are_quoted(make: Any) -> None:
    odd = {"in_schema": "My docs", "table": 'a "b"; --', "id": "Key", "text": "The text"}
    assert found(make(**odd), "rain") == ["1"]
    assert found(make(**odd, tsvector="words"), "rain") == []
    assert found(make(**odd, tsvector="words", words="websearch"), "sunny") == ["1"]
    (passage,) = make(**odd, tsvector="words").complete(Retrieve("mine", "sunny", 1), lambda: False)
    assert (passage.id, passage.text) == ("1", "It is raining")


def test_words_and_vectors_are_fused_by_their_ranks(make: Any) -> None:
    """By words "capital": abuja and paris, as rare in each; by vector [0, 1]: paris, blank, abuja, lagos."""
    both_ways = make(vector="embedding", embedder="e", title="title")
    passages = both_ways.complete(Retrieve("mine", "capital", 9, (0.0, 1.0)), lambda: False)
    assert [passage.id for passage in passages] == ["paris", "abuja", "lagos"]
    scores = [passage.score for passage in passages]
    # ranks 2 and 1, 1 and 3 (.032266), and 4 alone: a passage without a text has its rank, and is left out
    assert scores == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 64])
    assert passages[0].title == "Paris"
    assert found(both_ways, "nothing of it", 1, (0.9, 0.1)) == ["abuja"]


def test_without_its_vector_it_does_not_search(make: Any) -> None:
    with pytest.raises(UpstreamError, match="without the vector of the query"):
        found(make(vector="embedding", embedder="e"), "capital")


def test_connections_are_kept_and_a_lost_one_is_opened_anew(make: Any, made: list[PgVector], dsn: str) -> None:
    import psycopg

    retriever = make()
    threads = [threading.Thread(target=found, args=(retriever, "Lagos")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(retriever._idle) <= 3
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gate'")
    assert found(retriever, "Lagos") == ["lagos"]
    assert len(retriever._idle) == 1
    retriever.close()
    assert found(retriever, "Lagos") == ["lagos"]
    (left,) = retriever._idle
    made.clear()
    del retriever
    gc.collect()
    assert left.closed, "connections go with their retriever"


def test_a_statement_is_broken_off_by_its_limit_and_the_next_is_not(make: Any) -> None:
    slow = make(table="slow", seconds=0.05)
    with pytest.raises(UpstreamTimeout, match=r"found nothing within 0\.05 s"):
        found(slow, "Nigeria")
    assert found(make(), "Lagos") == ["lagos"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "dcos"}, "UndefinedTable"),
        ({"text": "body"}, "UndefinedColumn"),
        ({"language": "klingon"}, "UndefinedObject"),
    ],
)
def test_what_is_not_there_is_named_by_its_kind(make: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UpstreamError, match=f"has no such table or column.*{said}") as caught:
        found(make(**options), "Lagos")
    assert "does not exist" in caught.value.said
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/docs", "cannot be reached .*'OTHER_DSN' right"),
        ("postgresql://me:s3cret@[bad", "'OTHER_DSN' right"),
        ("host=127.0.0.1 s3cret", "'OTHER_DSN' right"),
    ],
)
def test_no_error_holds_the_address(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    pytest.importorskip("psycopg", reason="psycopg is an extra")
    monkeypatch.setenv("OTHER_DSN", address)
    made = PgVector.from_options("mine", PgVector.Options(dsn_env="OTHER_DSN", table="docs"))
    assert "s3cret" not in repr(made)
    with pytest.raises(UpstreamError, match=said) as caught:
        found(made, "Lagos")
    assert "s3cret" not in caught.value.in_full
    assert caught.value.__suppress_context__
    assert caught.value.retryable == (":1/" in address)


def test_nobody_waiting_nothing_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="psycopg is an extra")
    monkeypatch.setenv("OTHER_DSN", "host=127.0.0.1 port=1")
    made = PgVector.from_options("mine", PgVector.Options(dsn_env="OTHER_DSN", table="docs"))
    with pytest.raises(UpstreamError, match="was cancelled"):
        made.complete(Retrieve("mine", "a", 1), lambda: True)


def test_what_it_needs_is_asked_for_when_the_policy_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    options = PgVector.Options(dsn_env="NO_DSN", table="docs")
    with pytest.raises(ValidationError, match="go together"):
        PgVector.Options(dsn_env="NO_DSN", table="docs", vector="v")
    if importlib.util.find_spec("psycopg"):
        with pytest.raises(ConfigError, match="'NO_DSN' is not set: it must hold the address of the database"):
            PgVector.from_options("mine", options)
    monkeypatch.setattr("gate.retrieval.pgvector.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"gate-llm\[postgres\]"):
        PgVector.from_options("mine", options)
