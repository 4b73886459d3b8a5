"""What every retriever must be, run over RETRIEVERS: registering is being tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gate.ports import is_local
from gate.retrieval import RETRIEVERS
from tests.retrieval.indexes import made

each = pytest.mark.parametrize("kind", RETRIEVERS, ids=lambda kind: kind.kind)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    (tmp_path / "passages.jsonl").write_text(json.dumps({"id": "1", "text": "Lagos"}))
    monkeypatch.setenv("A_SECRET", "postgresql://127.0.0.1:1/none")
    return {
        "pocket_world": {},
        "bm25": {"path": str(tmp_path / "passages.jsonl")},
        "index": {"path": str(made(tmp_path / "an.index", tmp_path / "passages.jsonl"))},
        "http_json": {"url": "http://127.0.0.1:1/search", "api_key_env": "A_SECRET"},
        "elasticsearch": {"base_url": "http://127.0.0.1:1", "index": "docs", "api_key_env": "A_SECRET"},
        "pgvector": {"dsn_env": "A_SECRET", "table": "docs"},
    }


def built(kind: Any, options: dict[str, dict[str, Any]]) -> Any:
    if kind.kind == "pgvector":
        pytest.importorskip("psycopg", reason="psycopg is an extra")
    return kind.from_options("mine", kind.Options.model_validate(options[kind.kind]))


def test_kinds_are_unique() -> None:
    assert len({kind.kind for kind in RETRIEVERS}) == len(RETRIEVERS)


@each
def test_it_is_built_from_its_own_options_and_fits_its_port(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    made = built(kind, options)
    assert (made.name, made.embedder) == ("mine", "")
    assert made.fingerprint == built(kind, options).fingerprint
    methods = ("complete",) if is_local(made) else ("encode", "decode")
    assert all(callable(getattr(made, method)) for method in methods)


@each
def test_unknown_options_are_refused(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    assert issubclass(kind.Options, BaseModel)
    with pytest.raises(ValidationError, match="extra"):
        kind.Options.model_validate({**options[kind.kind], "no_such_option": 1})


@each
def test_no_secret_shows_in_it(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    made = built(kind, options)
    assert "127.0.0.1:1/none" not in repr(made) + made.fingerprint


@pytest.mark.parametrize("kind", [kind for kind in RETRIEVERS if "version" in kind.Options.model_fields])
def test_whoever_says_that_the_documents_changed_has_another_retriever(
    kind: Any, options: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(kind, options).fingerprint
    options[kind.kind]["version"] = "2026-02"
    assert built(kind, options).fingerprint != first
    secret = next(name for name in options[kind.kind] if name.endswith("_env"))
    monkeypatch.setenv("ANOTHER", "x")
    moved = {**options, kind.kind: {**options[kind.kind], secret: "ANOTHER"}}
    assert built(kind, moved).fingerprint == built(kind, options).fingerprint, "where a key is makes no difference"
