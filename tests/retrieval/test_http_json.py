"""One's own JSON endpoint, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gate.drivers import World
from gate.effects import Flow, Reply, Retrieve, retrieve
from gate.errors import EvidenceUnavailable
from gate.retrieval import HttpJson
from gate.types import Passage
from tests.drivers.running import both, run
from tests.upstreams.faulty_server import FaultyServer, cut_mid_body, says, silent, status

ASKED = Retrieve("mine", 'Where is "Lagos" & {{k}}?\0', 2, (0.6, 0.8))
REPLY = {"results": [{"id": "1", "text": "Lagos is in Nigeria.", "title": "Lagos", "score": 3.5}]}


def retriever(server: FaultyServer, **options: Any) -> HttpJson:
    return HttpJson.from_options("mine", HttpJson.Options.model_validate({"url": f"{server.url}/search", **options}))


def searched(server: FaultyServer, *, threaded: bool = True, seconds: float | None = None, **options: Any) -> object:
    timeouts = {} if seconds is None else {"retriever:mine": seconds}
    world = World({}, {"mine": retriever(server, **options)}, timeouts)
    reply, _ = run(world, retrieve(ASKED), threaded=threaded)
    assert isinstance(reply, Reply)
    return reply.value


@both
def test_it_posts_the_question_and_reads_the_results(threaded: bool) -> None:
    with FaultyServer(says(json.dumps(REPLY).encode())) as server:
        found = searched(server, threaded=threaded)
    assert found == (Passage("1", "Lagos is in Nigeria.", 3.5, "Lagos"),)
    assert server.asked == [{"path": "/v1/search", "query": 'Where is "Lagos" & {{k}}? ', "k": 2}]


def test_names_and_the_place_of_results_are_its_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    reply = {"data": [{"doc": {"body": "Lagos", "ref": 7}}, {"doc": {"body": "Paris", "ref": 8}}, {}]}
    with FaultyServer(says(json.dumps({"data": reply["data"][:2]}).encode())) as server:
        found = searched(
            server,
            query_field="q",
            k_field=None,
            vector_field="embedding",
            embedder="vectors",
            send={"lang": "en"},
            results="data",
            fields={"text": "doc.body", "id": "doc.ref", "title": None},
            api_key_env="A_SECRET",
            api_key_header="X-Search-Key",
            headers={"x-team": "maps"},
        )
    assert found == (Passage("7", "Lagos"), Passage("8", "Paris"))
    (asked,), (headers,) = server.asked, server.headers
    assert asked == {"path": "/v1/search", "lang": "en", "q": 'Where is "Lagos" & {{k}}? ', "embedding": [0.6, 0.8]}
    assert (headers["x-search-key"], headers["x-team"]) == ("s3cret", "maps")


def test_by_get_all_stands_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    with FaultyServer(says(b"[]")) as server:
        found = searched(server, method="GET", results="", send={"exact": False, "lang": "en"}, api_key_env="A_SECRET")
    assert found == ()
    assert server.bodies == [b""]
    assert server.headers[0]["authorization"] == "Bearer s3cret"
    asked = server.asked[0]
    assert {name: asked[name] for name in ("exact", "lang", "query", "k")} == {
        "exact": "false", "lang": "en", "query": 'Where is "Lagos" & {{k}}? ', "k": "2",
    }  # fmt: skip


def test_more_than_was_asked_for_is_cut() -> None:
    rows = [{"id": str(number), "text": "Lagos"} for number in range(5)]
    with FaultyServer(says(json.dumps({"results": rows}).encode())) as server:
        found = searched(server)
    assert found == (Passage("0", "Lagos"), Passage("1", "Lagos"))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (status(403), "refused with status 403"),
        (status(404, b"<html>no</html>"), "refused with status 404: answered HTML, not JSON (is url right?)"),
        (status(302, b"", location="http://127.0.0.1:1"), "answered with status 302, not 200 (is url right?)"),
        (says(b"<!doctype html>", "text/html"), "answered HTML, not JSON (is url right?)"),
        (says(b'{"hits": []}'), "answered without a list of results at 'results'"),
        (says(b'{"results": [{"id": 1}]}'), "gave result 1 without a text at 'text'"),
        (says(b'{"results": []}' + b" " * 20 * 2**20), "sent more than 8 MiB"),
        (silent(), "did not answer before the deadline"),
    ],
    ids=["status", "html", "redirect", "html 200", "no results", "no text", "20 MB", "silent"],
)
def test_whatever_else_comes_is_one_clear_error(behaviour: Any, said: str) -> None:
    with FaultyServer(behaviour) as server, pytest.raises(EvidenceUnavailable) as caught:
        searched(server, seconds=0.3 if "deadline" in said else None)
    assert str(caught.value) == f"the retriever 'mine' {said}"
    assert len(server.asked) == 1


def test_what_may_pass_is_tried_again() -> None:
    busy = status(503, retry_after="0")
    with FaultyServer.of(busy, busy, cut_mid_body, says(b'{"results": []}')) as server:
        assert searched(server) == ()
    assert len(server.asked) == 4


def test_a_failed_search_costs_its_time_and_stands_on_the_tape() -> None:
    def searching() -> Flow[object]:
        try:
            yield from retrieve(ASKED)
        except EvidenceUnavailable as error:
            return error.cost
        return None

    with FaultyServer(status(403, b'{"error": {"message": "no, Bearer s3cret"}}')) as server:
        cost, recording = run(World({}, {"mine": retriever(server)}), searching(), threaded=True)
    (entry,) = recording.tape
    assert entry.failure is not None
    assert (entry.kind, entry.failure.status, entry.failure.said) == ("retrieve", 403, "no, Bearer ***")
    assert entry.cost == cost
    assert (entry.cost.calls, entry.cost.tokens) == (0, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "host/search"}, "http or https"),
        ({"url": "http://h/s?q=1"}, "must end with the path"),
        ({"headers": {"Authorization": "x"}}, "holds a key"),
        ({"vector_field": "v"}, "go together"),
        ({"embedder": "e"}, "go together"),
        ({"method": "GET", "embedder": "e", "vector_field": "v"}, "too long for an address"),
        ({"method": "GET", "send": {"a": [1]}}, "plain values"),
        ({"api_key_header": "X: y\r\n"}, "pattern"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        HttpJson.Options.model_validate({"url": "http://h/s", **options})
