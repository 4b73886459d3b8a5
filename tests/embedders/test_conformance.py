"""What every embedder must be, run over EMBEDDERS: registering is being tested."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from gate.drivers import World
from gate.effects import Embed, Reply, embed
from gate.embedders import EMBEDDERS
from gate.errors import UpstreamError
from gate.ports import Price, is_local
from tests.drivers.running import run
from tests.upstreams.faulty_server import FaultyServer, embeds

OPTIONS: dict[str, dict[str, Any]] = {
    "hashed_ngrams": {"dimensions": 64},
    "openai_embeddings": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    "sentence_transformers": {"model": "some/model"},
}
TEXTS = ("Lagos", "Lagos is a city in Nigeria", "東京", "a\ud83d")

each = pytest.mark.parametrize("kind", EMBEDDERS, ids=lambda kind: kind.kind)


class Model:
    def __init__(self, name: str, device: str | None) -> None: ...

    def encode(self, sentences: list[str], **how: Any) -> np.ndarray[Any, Any]:
        return np.array([[len(text), 2.0, -1.0] for text in sentences])


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.__spec__ = ModuleSpec("sentence_transformers", None)
    module.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


def built(kind: Any, **options: Any) -> Any:
    return kind.from_options("mine", kind.Options.model_validate({**OPTIONS[kind.kind], **options}), Price(1.0))


def test_kinds_are_unique() -> None:
    assert len({kind.kind for kind in EMBEDDERS}) == len(EMBEDDERS)


@each
def test_it_is_built_from_its_own_options_and_fits_its_port(kind: Any) -> None:
    made = built(kind)
    assert made.name == "mine"
    assert made.price == Price(1.0)
    assert made.fingerprint == built(kind).fingerprint
    methods = ("complete",) if is_local(made) else ("encode", "decode")
    assert all(callable(getattr(made, method)) for method in methods)


@each
def test_unknown_options_are_refused(kind: Any) -> None:
    assert issubclass(kind.Options, BaseModel)
    with pytest.raises(ValidationError, match="extra"):
        kind.Options.model_validate({**OPTIONS[kind.kind], "no_such_option": 1})


@each
def test_it_gives_each_text_a_unit_vector_in_order_and_the_same_one_again(kind: Any) -> None:
    with FaultyServer.of(embeds) as server:
        made = built(kind, **({} if kind.kind != "openai_embeddings" else {"base_url": server.url}))
        world = World({}, embedders={"mine": made})
        asked = (TEXTS, TEXTS[::-1], TEXTS)
        first, turned, again = (run(world, embed(Embed("mine", texts)), threaded=True)[0] for texts in asked)
    assert isinstance(first, Reply)
    assert isinstance(turned, Reply)
    assert isinstance(again, Reply)
    assert np.linalg.norm(first.value.rows, axis=1) == pytest.approx(np.ones(len(TEXTS)))
    assert len({len(row) for row in first.value.rows}) == 1
    assert again.value == first.value
    assert turned.value.rows == first.value.rows[::-1]
    assert first.value.rows[0] != first.value.rows[1]
    assert json.loads(json.dumps(first.value.rows)) == [list(row) for row in first.value.rows]  # no numpy in them


@each
def test_it_stops_once_nobody_waits(kind: Any) -> None:
    made = built(kind)
    if is_local(made):
        with pytest.raises(UpstreamError, match="'mine': was cancelled"):
            made.complete(Embed("mine", TEXTS), lambda: True)
