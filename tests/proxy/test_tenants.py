"""Clients of one server learn nothing of each other: neither of policies, nor of decisions, nor that there are any.

``app`` may use all policies, ``tenant`` only ``strict``, ``narrow`` only policies whose models run in the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.proxy.gate_process import Serving
from tests.upstreams.faulty_server import FaultyServer

ASK: dict[str, Any] = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
OTHERS = ("scripted", "early", "observing", "balanced")
CHAT = "/v1/chat/completions"
NOBODYS = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def tenant(house: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, headers=house.bearer("tenant")) as client:
        yield client


def names_others(reply: httpx.Response) -> list[str]:
    said = reply.text + str(reply.headers)
    return [name for name in (*OTHERS, "my-model", "main", "127.0.0.1") if name in said]


def test_the_list_of_models_is_ones_own(house: Serving, tenant: httpx.Client) -> None:
    listed = tenant.get("/v1/models")
    assert [model["id"] for model in listed.json()["data"]] == ["gate", "strict"]
    assert names_others(listed) == []
    everything = httpx.get(house.url + "/v1/models", headers=house.bearer("app"))
    assert [model["id"] for model in everything.json()["data"]] == ["gate", *OTHERS, "strict"]


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("named", ["model", "gate.policy"])
def test_anothers_policy_is_refused_in_the_words_for_one_that_is_not_there(
    tenant: httpx.Client, path: str, named: str
) -> None:
    def asked(name: str) -> httpx.Response:
        body = {**ASK, "max_tokens": 9} if path != "/v1/responses" else {"model": "gate", "input": "Where is Lagos?"}
        body |= {"model": name} if named == "model" else {"gate": {"policy": name}}
        return tenant.post(path, json=body)

    nothing = asked("nothing")
    assert nothing.status_code == 404
    for name in OTHERS:
        reply = asked(name)
        assert reply.status_code == 404
        assert reply.text.replace(name, "nothing") == nothing.text
        assert set(reply.headers) == set(nothing.headers)
        assert set(names_others(reply)) <= {name}, "only what was asked for is repeated"


def test_anothers_model_is_found_by_nobody(tenant: httpx.Client) -> None:
    nothing = tenant.get("/v1/models/nothing")
    for name in OTHERS:
        reply = tenant.get(f"/v1/models/{name}")
        assert (reply.status_code, reply.text.replace(name, "nothing")) == (404, nothing.text)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_nothing_is_passed_through_to_the_upstream_of_anothers_policy(
    house: Serving, upstream: FaultyServer, path: str
) -> None:
    before = len(upstream.asked)
    replies = [
        httpx.post(house.url + path, json={"model": name, "prompt": "x", "input": "x"}, headers=house.bearer("narrow"))
        for name in ("gate", "my-model", "main", "scripted", "nothing")
    ]
    assert {reply.status_code for reply in replies} == {404}
    assert len({reply.text for reply in replies}) == 1
    assert len(upstream.asked) == before


def test_feedback_on_anothers_decision_is_refused_as_on_none(house: Serving, tenant: httpx.Client) -> None:
    asked = httpx.post(house.url + CHAT, json=ASK, headers=house.bearer("app"))
    decision = asked.headers["x-gate-decision-id"]
    kept = httpx.post(
        house.url + "/v1/feedback", json={"decision_id": decision, "correct": True}, headers=house.bearer("app")
    )
    assert kept.status_code == 200, "it is there"
    others = [
        tenant.post("/v1/feedback", json={"decision_id": each, "correct": False, "note": "x"})
        for each in (decision, NOBODYS, f"{decision}' or '1'='1", "%", f"{decision}\x00")
    ]
    assert {reply.status_code for reply in others} == {404}
    assert len({reply.text for reply in others}) == 1
    of_ones_own = tenant.post(CHAT, json=ASK).headers["x-gate-decision-id"]
    assert tenant.post("/v1/feedback", json={"decision_id": of_ones_own, "correct": False}).status_code == 200


@pytest.mark.parametrize("who", ["nobody", "stranger", "tenant"])
def test_how_the_server_is_only_those_see_who_may(house: Serving, who: str) -> None:
    headers = {"tenant": house.bearer("tenant"), "stranger": {"authorization": "Bearer gate-x"}}.get(who, {})
    ready = httpx.get(house.url + "/readyz", headers=headers)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    metrics = httpx.get(house.url + "/metrics", headers=headers)
    assert metrics.status_code == (403 if who == "tenant" else 401)
    assert names_others(metrics) == []
    assert set(metrics.json()) == {"error"}
    seen = httpx.get(house.url + "/readyz", headers=house.bearer("app")).json()
    assert [policy["policy"] for policy in seen["policies"]] == [*OTHERS, "strict"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer gate-x"}, {"authorization": "Basic Z2F0ZTp4"}])
def test_without_a_key_every_door_says_the_same_and_reads_no_policy(house: Serving, headers: dict[str, str]) -> None:
    told = set()
    for path in (CHAT, "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/feedback"):
        for model in ("gate", "scripted", "nothing"):
            reply = httpx.post(house.url + path, json={**ASK, "model": model}, headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert names_others(reply) == []
            told.add(reply.text)
    assert len(told) == 1
    assert "gate-x" not in told.pop()


def test_an_error_repeats_no_key(house: Serving) -> None:
    for key in ("gate-" + "s" * 43, house.keys["app"] + "x", house.keys["app"].swapcase()):
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"authorization": key}):
            reply = httpx.post(house.url + CHAT, json=ASK, headers=headers)
            assert reply.status_code == 401
            assert key not in reply.text + str(reply.headers)
    assert all(key not in house.said for key in house.keys.values())


def test_what_one_client_sends_does_not_stay_for_the_next(house: Serving, upstream: FaultyServer) -> None:
    """Not a cookie, a header nor a field of one request is seen in another's, on one connection of each side."""
    with httpx.Client(base_url=house.url) as shared:
        mine = {"cookie": "mine=1", "openai-organization": "mine", "user-agent": "mine"}
        shared.post(CHAT, json={**ASK, "user": "mine", "metadata": {"mine": "1"}}, headers=house.bearer("app") | mine)
        shared.cookies.clear()
        before = len(upstream.asked)
        shared.post(CHAT, json={**ASK, "model": "scripted"}, headers=house.bearer("app"))
    assert "mine" not in json.dumps([upstream.asked[before:], upstream.headers[before:]])
