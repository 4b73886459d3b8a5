"""A sentence-transformers model in process: loaded once, asked in batches; the package is a stand-in here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from gate.drivers import World
from gate.effects import Embed, Reply, embed
from gate.embedders import SentenceTransformers
from gate.errors import MissingExtra, UpstreamError
from gate.ports import Price
from tests.drivers.running import both, run


class Model:
    """Has the constructor and the one method that are used: [letters, 1] a text, in no particular length."""

    made: ClassVar[list[Model]] = []
    broken: ClassVar[Exception | None] = None
    answers: ClassVar[Callable[[list[str]], Any] | None] = None

    def __init__(self, model_name_or_path: str, *, device: str | None = None) -> None:
        time.sleep(0.02)  # long enough for a second thread to come
        if Model.broken:
            raise Model.broken
        self.asked_for, self.device, self.batches = model_name_or_path, device, list[list[str]]()
        self.inside = 0
        Model.made.append(self)

    def encode(
        self, sentences: list[str], *, batch_size: int, convert_to_numpy: bool, show_progress_bar: bool
    ) -> np.ndarray[Any, Any]:
        self.inside += 1
        assert self.inside == 1, "two threads at a time"
        assert len(sentences) <= batch_size
        assert convert_to_numpy
        assert not show_progress_bar
        self.batches.append(sentences)
        made = Model.answers(sentences) if Model.answers else [[len(text), 1.0] for text in sentences]
        self.inside -= 1
        if isinstance(made, Exception):
            raise made
        return np.array(made, dtype=np.float32)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    module = ModuleType("sentence_transformers")
    module.__spec__ = ModuleSpec("sentence_transformers", None)
    module.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    monkeypatch.setattr(Model, "made", [])
    monkeypatch.setattr(Model, "broken", None)
    monkeypatch.setattr(Model, "answers", None)
    return Model


def embedder(**options: Any) -> SentenceTransformers:
    made = SentenceTransformers.Options.model_validate({"model": "some/model", **options})
    return SentenceTransformers.from_options("vectors", made, Price())  # type: ignore[arg-type]


def test_without_the_package_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sentence_transformers", raising=False)
    monkeypatch.setattr("gate.embedders.sentence_transformers.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'sentence-transformers'.*pip install 'gate-llm\[embeddings\]'"):
        embedder()


def test_building_it_imports_and_loads_nothing(package: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    made = embedder()
    assert made.fingerprint.startswith("sentence_transformers-model:")
    assert not package.made
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # an installation that cannot be imported
    with pytest.raises(UpstreamError, match="'vectors': cannot import its package"):
        made.complete(Embed("vectors", ("a",)), lambda: False)


@both
def test_it_embeds_over_either_driver(package: type[Model], threaded: bool) -> None:
    world = World({}, embedders={"vectors": embedder(device="cpu")})
    reply, _ = run(world, embed(Embed("vectors", ("abc", "", "a\ud83d"))), threaded=threaded)
    assert isinstance(reply, Reply)
    assert reply.value.rows[0] == pytest.approx((3 / 10**0.5, 1 / 10**0.5), abs=1e-6)
    assert [np.linalg.norm(row) for row in reply.value.rows] == pytest.approx([1.0, 1.0, 1.0])
    (model,) = package.made
    assert (model.asked_for, model.device, model.batches) == ("some/model", "cpu", [["abc", "", "a?"]])


def test_many_texts_are_embedded_in_batches_and_a_cancelled_request_stops_between_two(package: type[Model]) -> None:
    made, texts = embedder(), tuple("x" * (1 + i) for i in range(70))
    rows = made.complete(Embed("vectors", texts), lambda: False).rows
    assert [len(batch) for batch in package.made[0].batches] == [32, 32, 6]
    assert [round(row[0] / row[1]) for row in rows] == [len(text) for text in texts]
    asked = iter((False, True))
    with pytest.raises(UpstreamError, match="was cancelled"):
        made.complete(Embed("vectors", texts), lambda: next(asked))
    assert len(package.made[0].batches) == 4
    assert made.complete(Embed("vectors", ()), lambda: False).rows == ()


def test_threads_load_it_once_and_take_turns(package: type[Model]) -> None:
    made = embedder()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: made.complete(Embed("vectors", ("a", "bb")), lambda: False), range(8)))
    assert len({reply.rows for reply in replies}) == 1
    assert len(package.made) == 1
    assert len(package.made[0].batches) == 8


@pytest.mark.parametrize("error", [OSError("no such model\non the hub"), ValueError("x"), RuntimeError("no device")])
def test_a_model_that_cannot_be_loaded_is_named(package: type[Model], error: Exception) -> None:
    package.broken = error
    made = embedder()
    with pytest.raises(UpstreamError, match="'vectors': cannot load 'some/model': ") as caught:
        made.complete(Embed("vectors", ("a",)), lambda: False)
    assert "\n" not in str(caught.value)
    package.broken = None
    assert made.complete(Embed("vectors", ("a",)), lambda: False).rows  # the next request tries again


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        (lambda texts: RuntimeError("CUDA out of memory"), "failed: RuntimeError: CUDA out of memory"),
        (lambda texts: [[1.0, float("nan")] for _ in texts], "NaN or infinity"),
        (lambda texts: [[0.0, 0.0] for _ in texts], "zeros alone"),
        (lambda texts: [1.0 for _ in texts], r"shape \[2\] for 2 texts"),
        (lambda texts: [[1.0, 2.0]], r"shape \[1, 2\] for 2 texts"),
    ],
)
def test_what_is_no_vector_is_an_upstream_error(
    package: type[Model], answers: Callable[[list[str]], Any], cause: str
) -> None:
    package.answers = staticmethod(answers)
    with pytest.raises(UpstreamError, match=cause):
        embedder().complete(Embed("vectors", ("a", "b")), lambda: False)


def test_a_model_that_is_trusted_to_normalise_is_found_out(package: type[Model]) -> None:
    with pytest.raises(UpstreamError, match="set 'normalised' to true"):
        embedder(normalised=False).complete(Embed("vectors", ("abc",)), lambda: False)
    package.answers = staticmethod(lambda texts: [[0.6, 0.8] for _ in texts])
    assert embedder(normalised=False).complete(Embed("vectors", ("abc",)), lambda: False).rows[0] == pytest.approx(
        (0.6, 0.8)
    )


def test_the_fingerprint_follows_the_model_its_configuration_and_the_sizes_of_its_files(
    package: type[Model], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text('{"mode": "mean"}')
    (folder / "model.safetensors").write_bytes(b"12345678")
    seen = [embedder(model=str(folder)).fingerprint]
    assert embedder(model=str(folder)).fingerprint == seen[0]
    (folder / "1_Pooling" / "config.json").write_text('{"mode": "last"}')
    seen.append(embedder(model=str(folder)).fingerprint)
    (folder / "model.safetensors").write_bytes(b"123456789")
    seen.append(embedder(model=str(folder)).fingerprint)
    seen += [embedder().fingerprint, embedder(model="other/model").fingerprint, embedder(normalised=False).fingerprint]
    assert len(set(seen)) == len(seen)
    assert embedder(device="cpu").fingerprint == embedder().fingerprint
    assert not package.made
