"""The embeddings dialect: what is sent, what is read, over real HTTP, and that bad replies are upstream errors."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.drivers import World
from gate.effects import Embed, Reply, embed
from gate.embedders import OpenAIEmbeddings
from gate.errors import ConfigError, UpstreamError
from gate.ports import Price
from tests.drivers.running import both, run
from tests.upstreams.faulty_server import FaultyServer, cut_mid_body, embeds, resets, says, silent, status

URL = "http://127.0.0.1:1/v1"
TEXTS = ("one", "one two three", "one two")


def embedder(base_url: str = URL, price: Price | None = None, **options: Any) -> OpenAIEmbeddings:
    made = OpenAIEmbeddings.Options.model_validate({"base_url": base_url, "model": "m", **options})
    return OpenAIEmbeddings.from_options("vectors", made, price or Price())  # type: ignore[arg-type]


def data(*rows: Any) -> bytes:
    return json.dumps({"data": [{"index": place, "embedding": row} for place, row in enumerate(rows)]}).encode()


def test_a_request_holds_the_model_and_the_texts_and_nothing_it_was_not_asked_for() -> None:
    sent = embedder().encode(Embed("vectors", TEXTS))
    assert sent.url == f"{URL}/embeddings"
    assert sent.body == {"model": "m", "input": list(TEXTS)}
    assert embedder(dimensions=64).encode(Embed("vectors", TEXTS)).body["dimensions"] == 64


def test_texts_that_servers_refuse_or_json_cannot_hold_are_made_sendable() -> None:
    sent = embedder().encode(Embed("vectors", ("", "a\ud83d", "東京")))
    assert sent.body["input"] == [" ", "a?", "東京"]
    with pytest.raises(UpstreamError, match="no texts"):
        embedder().encode(Embed("vectors", ()))


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    made = embedder(api_key_env="MY_KEY")
    assert made.encode(Embed("vectors", TEXTS)).headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(made) + made.fingerprint
    with pytest.raises(UpstreamError) as caught:
        made.decode(401, {}, b'{"error": {"message": "wrong key sk-secret"}}')
    assert "sk-secret" not in str(caught.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match="'MY_KEY' is not set"):
        embedder(api_key_env="MY_KEY")


def test_its_options_are_those_of_an_address_and_not_of_a_language_model() -> None:
    with pytest.raises(ValidationError, match="extra"):
        embedder(capabilities={"n": 1})
    with pytest.raises(ValidationError, match="must be an http"):
        embedder("ftp://x/v1")
    fingerprints = {embedder().fingerprint, embedder(dimensions=8).fingerprint, embedder(model="n").fingerprint}
    assert len(fingerprints) == 3


@both
def test_vectors_come_in_the_order_of_the_texts_and_of_unit_length(threaded: bool) -> None:
    with FaultyServer.of(embeds) as server:
        world = World({}, embedders={"vectors": embedder(server.url, Price(prompt=2.0))})
        reply, recording = run(world, embed(Embed("vectors", TEXTS)), threaded=threaded)
    assert isinstance(reply, Reply)
    lengths = [math.hypot(words, 1) for words in (1, 3, 2)]
    assert reply.value.rows == tuple(
        pytest.approx((words / length, 1 / length, 0)) for words, length in zip((1, 3, 2), lengths, strict=True)
    )
    assert (reply.cost.calls, reply.cost.prompt_tokens, reply.cost.completion_tokens) == (0, 9, 0)
    assert reply.cost.money == pytest.approx(9 * 2.0 / 1e6)
    assert recording.tape[0].vectors == reply.value
    assert server.asked == [{"path": "/v1/embeddings", "model": "m", "input": list(TEXTS)}]


@both
def test_a_server_that_gives_a_vector_too_few_is_an_error_that_counts(threaded: bool) -> None:
    with FaultyServer.of(says(data([1.0], [2.0]))) as server:
        world = World({}, embedders={"vectors": embedder(server.url)})
        with pytest.raises(UpstreamError, match="'vectors': gave 2 vectors for 3 texts"):
            run(world, embed(Embed("vectors", TEXTS)), threaded=threaded)
    assert len(server.asked) == 1


@both
def test_what_may_pass_is_tried_again(threaded: bool) -> None:
    busy = status(429, b'{"error": {"message": "slow down"}}', retry_after="0")
    with FaultyServer.of(busy, cut_mid_body, resets, embeds) as server:
        world = World({}, embedders={"vectors": embedder(server.url)})
        reply, _ = run(world, embed(Embed("vectors", TEXTS)), threaded=threaded, seconds=30)
    assert isinstance(reply, Reply)
    assert len(reply.value.rows) == 3
    assert len(server.asked) == 4


BAD = {
    "html": (says(b"<html>hello</html>", "text/html"), "HTML, not JSON"),
    "a chat reply": (says(b'{"choices": [{"message": {}}]}'), "without data"),
    "no such model": (status(404, b'{"error": {"message": "no model m"}}'), "404: no model m"),
    "an error with status 200": (says(b'{"error": {"message": "quota"}}'), "an error: quota"),
    "ragged": (says(data([1.0], [2.0, 3.0], [1.0])), "unequal lengths"),
    "null for a number": (says(data([1.0], [None], [1.0])), "no list of numbers"),
    "zeros": (says(data([1.0], [0.0], [1.0])), "zeros alone"),
    "base64": (says(data("AACAPw==", "AACAPw==", "AACAPw==")), "no list of numbers"),
    "numbered twice": (says(data([1.0], [2.0], [3.0]).replace(b'"index": 2', b'"index": 1')), "numbered 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@both
def test_bad_bodies_are_upstream_errors_that_name_the_cause(case: str, threaded: bool) -> None:
    behaviour, cause = BAD[case]
    with FaultyServer.of(behaviour) as server:
        world = World({}, embedders={"vectors": embedder(server.url)})
        with pytest.raises(UpstreamError) as caught:
            run(world, embed(Embed("vectors", TEXTS)), threaded=threaded, seconds=30)
    assert caught.value.upstream == "vectors"
    assert re.search(cause, caught.value.in_full)


@both
def test_a_server_that_says_nothing_is_given_up_at_the_deadline(threaded: bool) -> None:
    with FaultyServer.of(silent()) as server:
        world = World({}, embedders={"vectors": embedder(server.url)}, timeouts={"vectors": 0.3})
        with pytest.raises(UpstreamError, match="'vectors': did not answer"):
            run(world, embed(Embed("vectors", TEXTS)), threaded=threaded)


def test_embeddings_without_an_index_are_taken_in_the_order_they_stand_in() -> None:
    made = embedder().decode(200, {}, b'{"data": [{"embedding": [0, 2]}, {"embedding": [3, 0]}]}')
    assert made.rows == ((0.0, 1.0), (1.0, 0.0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.fixed_dictionaries({}, optional={"index": JSON, "embedding": JSON}), max_size=4), JSON)
def test_nothing_but_unit_vectors_or_an_upstream_error_comes_of_any_reply(items: list[Any], usage: Any) -> None:
    body = json.dumps({"data": items, "usage": usage}).encode()
    try:
        made = embedder().decode(200, {}, body)
    except UpstreamError:
        return
    assert [math.hypot(*row) for row in made.rows] == pytest.approx([1.0] * len(items))
