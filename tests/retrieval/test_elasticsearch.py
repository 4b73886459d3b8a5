"""The _search dialect: what is asked in each way, and what hits become."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.drivers import World
from gate.effects import Reply, Retrieve, retrieve
from gate.errors import UpstreamError
from gate.retrieval import Elasticsearch
from gate.types import Passage
from tests.drivers.running import run
from tests.upstreams.faulty_server import FaultyServer, says

ASKED = Retrieve("mine", "Where is\nLagos?", 2, (0.6, 0.8))
WORDS = {"multi_match": {"query": "Where is Lagos?", "fields": ["text", "title"]}}
HIT = {"_index": "docs", "_id": "a1", "_score": 2.5, "_source": {"text": "Lagos is in Nigeria.", "title": "Lagos"}}


def retriever(**options: Any) -> Elasticsearch:
    given = {"base_url": "http://127.0.0.1:9200/", "index": "docs-*,more", **options}
    return Elasticsearch.from_options("mine", Elasticsearch.Options.model_validate(given))


def body(**options: Any) -> dict[str, Any]:
    return dict(retriever(**options).encode(ASKED).body)


def test_hits_come_back_as_passages_from_a_real_server() -> None:
    reply = {"took": 1, "timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": [HIT]}}
    with FaultyServer(says(json.dumps(reply).encode())) as server:
        world = World({}, {"mine": retriever(base_url=server.url)})
        answer, _ = run(world, retrieve(ASKED), threaded=True)
    assert isinstance(answer, Reply)
    assert answer.value == (Passage("a1", "Lagos is in Nigeria.", 2.5, "Lagos"),)
    source = ["text", "title", "url"]
    assert server.asked == [{"path": "/v1/docs-*,more/_search", "size": 2, "_source": source, "query": WORDS}]


def test_it_asks_by_words_in_the_fields_it_is_told() -> None:
    named = body(fields={"text": "body.en", "title": None, "url": None}, search_fields=["body.en", "tags^2"])
    words = {"query": "Where is Lagos?", "fields": ["body.en", "tags^2"]}
    assert named == {"size": 2, "_source": ["body.en"], "query": {"multi_match": words}}
    hit = {"_id": "1", "_score": None, "_source": {"body": {"en": "Lagos"}}}
    made = retriever(fields={"text": "body.en", "title": None})
    assert made.decode(200, {}, json.dumps({"hits": {"hits": [hit]}}).encode()) == (Passage("1", "Lagos"),)


def test_it_asks_by_vector_in_either_dialect() -> None:
    by_vector = {"vector_field": "v", "embedder": "e"}
    nearest = {"field": "v", "query_vector": [0.6, 0.8], "k": 2, "num_candidates": 100}
    assert (body(**by_vector)["query"], body(**by_vector)["knn"]) == (WORDS, nearest)
    opensearch = {"bool": {"should": [WORDS, {"knn": {"v": {"vector": [0.6, 0.8], "k": 2}}}]}}
    made = body(**by_vector, dialect="opensearch")
    assert (made["query"], "knn" in made) == (opensearch, False)


TEMPLATE = {
    "size": "{{ k }}",
    "query": {"match": {"text": "{{query}}"}},
    "knn": [{"query_vector": "{{vector}}"}],
    "note": "{{query}} of {{k}}",
    "min_score": 0.5,
}


@given(st.text(st.characters(codec="utf-8")) | st.sampled_from(['{{k}}"}', "\\", "{{query}}", '", "size": 0, "']))
def test_a_query_stays_a_value_whatever_it_holds(query: str) -> None:
    made = retriever(body=TEMPLATE, embedder="e")
    request = made.encode(Retrieve("mine", query, 3, (0.6, 0.8)))
    sent = json.loads(request.content)
    told = sent["query"]["match"]["text"]
    assert sent == {
        "size": 3,
        "_source": ["text", "title", "url"],
        "query": {"match": {"text": told}},
        "knn": [{"query_vector": [0.6, 0.8]}],
        "note": f"{told} of 3",
        "min_score": 0.5,
    }
    if query.isprintable():
        assert told == " ".join(query.split())


def test_a_query_of_any_length_stays_below_the_servers_limit_of_clauses() -> None:
    made = retriever().encode(Retrieve("mine", "word " * 5000, 1))
    assert len(made.body["query"]["multi_match"]["query"].split()) == 512


def test_keys_and_passwords_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    assert retriever(api_key_env="A_SECRET").encode(ASKED).headers["authorization"] == "ApiKey s3cret"
    basic = retriever(username="me", password_env="A_SECRET").encode(ASKED).headers["authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"me:s3cret"
    assert "authorization" not in retriever().encode(ASKED).headers


@pytest.mark.parametrize(
    ("status", "reply", "cause", "retryable"),
    [
        (404, {"error": {"reason": "no such index [docs]"}, "status": 404}, "refused with status 404", False),
        (200, {"timed_out": True, "hits": {"hits": []}}, "before it was complete", True),
        (200, {"_shards": {"failed": 2}, "hits": {"hits": [HIT]}}, "without 2 of its shards", True),
        (200, {"hits": {}}, "answered without a list of results at 'hits.hits'", False),
        (200, [1], "answered without a list of results at 'hits.hits'", False),
        (200, {"hits": {"hits": [{"_id": "1"}]}}, "gave result 1 without a text at '_source.text'", False),
    ],
)
def test_part_of_an_answer_is_none(status: int, reply: Any, cause: str, retryable: bool) -> None:
    with pytest.raises(UpstreamError, match=cause) as caught:
        retriever().decode(status, {}, json.dumps(reply).encode())
    assert caught.value.retryable is retryable
    assert status != 404 or caught.value.said == "no such index [docs]"


def test_nothing_found_is_an_answer() -> None:
    assert retriever().decode(200, {}, b'{"hits": {"hits": []}}') == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index": "../secret"}, "pattern"),
        ({"vector_field": "v"}, "'embedder' goes with"),
        ({"embedder": "e"}, "'embedder' goes with"),
        ({"body": {"query": "{{vector}}"}}, "'embedder' goes with"),
        ({"body": {"query": "{{qeury}}"}}, r"\{\{qeury\}\} stands for nothing"),
        ({"body": {"query": {}}}, "every question finds the same"),
        ({"body": {"q": "{{query}}"}, "search_fields": ["a"]}, "in the place of"),
        ({"username": "me"}, "go together"),
        ({"username": "me", "password_env": "A", "api_key_env": "B"}, "not both"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Elasticsearch.Options.model_validate({"base_url": "http://h", "index": "docs", **options})
