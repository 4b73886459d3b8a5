"""The endpoints beside the gated doors: models, what is passed through, feedback, health, metrics."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gate.drivers import World
from gate.embedders.openai_embeddings import OpenAIEmbeddings, OpenAIEmbeddingsOptions
from gate.log.opening import DecisionLog, open_log
from gate.ports import Price
from gate.proxy import endpoints
from gate.proxy.counters import Counters
from gate.proxy.limits import Limiter
from gate.proxy.metrics import Metrics
from gate.proxy.passing import targets_of, tokens_in
from gate.proxy.settings import AuditSettings, ServerSettings, WebhookSettings
from gate.types import Certificate
from gate.upstreams.openai_completions import OpenAICompletions, OpenAICompletionsOptions
from tests.proxy.fake_gateway import FakeGateway, FakePlan
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, ask, get, sent_and_open, until
from tests.proxy.served import app_of, bearer, keys_of
from tests.proxy.test_passing import completes
from tests.upstreams.faulty_server import DONE, FaultyServer, embeds, resets, silent, status, streams

PASSED = {"model": "m-1", "prompt": "Where is Lagos?"}


def post(url: str, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(verify=False, trust_env=False, timeout=20) as client:
        return client.post(url + path, json=body, headers=headers)


# --- models ------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_the_policies_it_may_use() -> None:
    keys = keys_of(app={"policies": ["b"]}, desk={"roles": ["review"]})
    with live(app_of(FakeGateway(name="a"), FakeGateway(name="b"), keys=keys)) as url:
        listed = get(url, "/v1/models", bearer("app")).json()["data"]
        assert [model["id"] for model in listed] == ["gate", "b"]
        assert get(url, "/v1/models/b", bearer("app")).json() == listed[1]
        hidden = get(url, "/v1/models/a", bearer("app"))
        assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "model_not_found")
        assert get(url, "/v1/models", bearer("desk")).status_code == 403
        assert get(url, "/v1/models").status_code == 401


# --- passed through ----------------------------------------------------------------------------------------------


def passing(url: str, **more: Any) -> FakeGateway:
    """A policy over a server of completions and embeddings."""
    price = Price(prompt=1000.0, completion=2000.0)
    completions = OpenAICompletions("main", OpenAICompletionsOptions(base_url=url, model="m-1"), price, "upstream-key")
    vectors = OpenAIEmbeddings("vectors", OpenAIEmbeddingsOptions(base_url=url, model="e-1"), price, None)
    world = World({"main": completions}, embedders={"vectors": vectors})
    return FakeGateway(world=world, plan=FakePlan({"main": price}), **more)


def limited(gateway: FakeGateway, **client: Any) -> tuple[Any, Counters, Metrics]:
    counters, metrics = Counters.open(None, 1), Metrics()
    keys = keys_of(app={"models": "*", **client}, narrow={"models": ["m-1"]}, none={}, desk={"roles": ["review"]})
    return app_of(gateway, keys=keys, limiter=Limiter(counters), metrics=metrics), counters, metrics


def test_what_is_passed_through_is_metered_too() -> None:
    with FaultyServer(completes) as server:
        app, counters, metrics = limited(passing(server.url), rate={"tokens_per_minute": 1000}, spend=DAILY)
        with live(app) as url:
            reply = post(url, "/v1/completions", PASSED, bearer("app"))
            assert reply.json()["choices"] == [{"text": "Nigeria"}]
            assert reply.headers["x-ratelimit-limit-tokens"] == "1000", "the key's own, not the upstream's"
            used = counters.usage("app")
            assert "x-gate-idempotency" not in reply.headers
            keyed = post(url, "/v1/completions", PASSED, {**bearer("app"), "idempotency-key": "k-1"})
            assert keyed.headers["x-gate-idempotency"] == "off", "nothing is kept of what is passed through"
        assert [sent["authorization"] for sent in server.headers] == ["Bearer upstream-key"] * 2
        assert "idempotency-key" not in server.headers[1]
    assert (used.total.tokens, used.under_way) == (7, 0)
    assert used.total.money == pytest.approx((5 * 1000 + 2 * 2000) / 1e6)
    assert b'gate_passed_total{path="completions",status="200"} 2.0' in metrics.render()


def test_a_key_that_has_spent_what_it_may_passes_nothing_through() -> None:
    with FaultyServer(completes) as server:
        app, counters, _ = limited(passing(server.url), spend={"limit": 0.018, "per": "day"})
        with live(app) as url:
            replies = [post(url, "/v1/completions", PASSED, bearer("app")) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert replies[1].json()["error"]["code"] == "insufficient_quota"
    assert replies[1].headers["retry-after"]
    assert counters.usage("app").under_way == 0


def test_what_is_not_passed_through_costs_nothing_and_what_fails_is_counted() -> None:
    with FaultyServer.of(status(503), resets) as server:
        app, counters, metrics = limited(passing(server.url), rate={"requests_per_minute": 10})
        with live(app) as url:
            assert post(url, "/v1/completions", {"prompt": "x"}, bearer("app")).status_code == 400
            assert counters.usage("app").total.requests == 0
            assert post(url, "/v1/completions", PASSED, bearer("app")).status_code == 503
            assert (counters.usage("app").total.requests, counters.usage("app").under_way) == (1, 0)
            assert post(url, "/v1/completions", PASSED, bearer("app")).status_code == 502
        assert (counters.usage("app").total.requests, counters.usage("app").under_way) == (2, 0)
    shown = metrics.render().decode()
    assert all(f'gate_passed_total{{path="completions",status="{code}"}} 1.0' in shown for code in (503, 502))


def test_a_stream_is_settled_once_it_was_sent_or_its_client_left() -> None:
    usage = b'data: {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}\n\n'
    behaviours = streams(b"data: {}\n\n", usage, DONE), streams(b"data: {}\n\n", hangs=True)
    with FaultyServer.of(*behaviours) as server:
        app, counters, _ = limited(passing(server.url), rate={"concurrency": 1})
        header = f"authorization: {bearer('app')['authorization']}\r\n"
        with live(app) as url:
            for tokens in (7, 7 + _reckoned({**PASSED, "stream": True}) + 1):
                with sent_and_open(url, {**PASSED, "stream": True}, "/v1/completions", header) as sock:
                    got = b""
                    while b"data: {}" not in got:
                        got += sock.recv(4096)
                    if len(server.asked) == 1:
                        while b"[DONE]" not in got:
                            got += sock.recv(4096)
                until(lambda: counters.usage("app").under_way == 0)
                assert counters.usage("app").total.tokens == tokens
            assert server.gone.wait(5)


def _reckoned(body: dict[str, Any]) -> int:
    return tokens_in(json.dumps(body).encode())


def test_what_the_upstream_does_not_count_is_reckoned_and_paid_for() -> None:
    with FaultyServer.of(streams(*[b"data: {}\n\n"] * 3, DONE)) as server:
        app, counters, _ = limited(passing(server.url), spend=DAILY)
        with live(app) as url:
            raw = json.dumps({**PASSED, "stream": True}).encode()
            httpx.post(f"{url}/v1/completions", content=raw, headers=bearer("app"), trust_env=False)
            until(lambda: counters.usage("app").under_way == 0)
    used = counters.usage("app").total
    assert used.tokens == tokens_in(raw) + 3
    assert used.money == pytest.approx((tokens_in(raw) * 1000 + 3 * 2000) / 1e6)


def test_who_leaves_before_the_reply_pays_for_the_prompt() -> None:
    with FaultyServer.of(silent()) as server:
        app, counters, _ = limited(passing(server.url), spend=DAILY)
        header = f"authorization: {bearer('app')['authorization']}\r\n"
        with live(app) as url:
            with sent_and_open(url, PASSED, "/v1/completions", header):
                until(lambda: bool(server.asked))
            until(lambda: counters.usage("app").under_way == 0)
    used = counters.usage("app").total
    assert used.tokens == _reckoned(PASSED)
    assert used.money == pytest.approx(_reckoned(PASSED) * 1000 / 1e6)


def test_what_a_prompt_will_cost_is_charged_in_advance() -> None:
    with FaultyServer(completes) as server:
        app, counters, _ = limited(passing(server.url), spend={"limit": 0.1, "per": "day"})
        with live(app) as url:
            long = post(url, "/v1/completions", {**PASSED, "prompt": "x" * 400}, bearer("app"))
            assert (long.status_code, long.json()["error"]["code"]) == (429, "insufficient_quota")
            assert not server.asked
            assert post(url, "/v1/embeddings", {"model": "e-1", "input": "x" * 400}, bearer("app")).status_code == 200
    assert counters.usage("app").total.requests == 1, "the embedder charges nothing"


def test_a_key_reaches_the_models_it_names_and_needs_its_role() -> None:
    with FaultyServer(completes) as server:
        app, _, _ = limited(passing(server.url))
        with live(app) as url:
            asked = [post(url, "/v1/completions", PASSED, bearer(name)) for name in ("narrow", "none", "desk")]
            other = post(url, "/v1/completions", {**PASSED, "model": "m-2"}, bearer("narrow"))
    assert [reply.status_code for reply in asked] == [200, 404, 403]
    assert other.status_code == 404


def test_embeddings_go_to_an_embedder_and_servers_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[World] = []

    def looking(world: World) -> Any:
        looked.append(world)
        return targets_of(world)

    monkeypatch.setattr(endpoints, "targets_of", looking)
    with FaultyServer(embeds) as server, live(app_of(passing(server.url))) as url:
        for _ in range(3):
            assert post(url, "/v1/embeddings", {"model": "gate", "input": ["a b"]}).json()["object"] == "list"
        assert [asked["model"] for asked in server.asked] == ["e-1"] * 3
    assert len(looked) == 1


# --- feedback ----------------------------------------------------------------------------------------------------

HOUSE = {
    "app": {"roles": ["ask", "feedback"]}, "other": {"roles": ["ask", "feedback"]}, "mute": {},
    "desk": {"roles": ["review"]}, "strict": {"roles": ["review"], "policies": ["strict"]},
    "ops": {"roles": ["admin", "metrics"]},
}  # fmt: skip
DAILY = {"limit": 10.0, "per": "day"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DecisionLog]:
    made = open_log(f"sqlite:///{tmp_path / 'log.db'}", retention_days=None)
    yield made
    made.close()


def feedback(url: str, name: str, decision: str, **said: Any) -> httpx.Response:
    return post(url, "/v1/feedback", {"decision_id": decision, **said}, bearer(name))


def test_one_may_label_ones_own_decisions_and_a_reviewer_any(log: DecisionLog) -> None:
    with live(app_of(keys=keys_of(**HOUSE), log=log)) as url:
        decision = ask(url, headers=bearer("app")).headers["x-gate-decision-id"]
        assert log.writer.flush()
        foreign, absent = feedback(url, "other", decision, correct=True), feedback(url, "app", "0" * 32, correct=True)
        assert (foreign.status_code, foreign.json()) == (404, absent.json()), "which of the two is nobody's business"
        assert feedback(url, "mute", decision, correct=True).status_code == 403
        said = feedback(url, "app", decision, correct=False, note="no", answer="Nigeria")
        assert said.json() == {"id": decision, "kept": True}
        kept = log.reader.find(decision)
        assert kept is not None
        assert kept.label is not None
        assert (kept.label.correct, kept.label.by, kept.label.source) == (False, "app", "feedback")
        assert (kept.label.note, kept.label.answer) == ("", ""), "words are kept only where the log keeps text"
        narrow = feedback(url, "strict", decision, correct=True)
        assert (narrow.status_code, narrow.json()) == (404, absent.json()), "a reviewer of other policies"
        for name in ("desk", "ops"):
            assert feedback(url, name, decision, correct=True).status_code == 200
        assert feedback(url, "desk", decision, note="hm").status_code == 200
        kept = log.reader.find(decision)
        assert kept is not None
        assert kept.label is not None
        assert (kept.label.correct, kept.label.by, kept.label.source) == (True, "ops", "review"), "a note is no review"


def test_feedback_is_counted_among_the_requests_of_a_key(log: DecisionLog) -> None:
    counters = Counters.open(None, 1)
    keys = keys_of(app={"roles": ["feedback"], "rate": {"requests_per_minute": 2}})
    with live(app_of(keys=keys, log=log, limiter=Limiter(counters))) as url:
        said = [feedback(url, "app", "0" * 32, correct=True) for _ in range(3)]
    assert [reply.status_code for reply in said] == [404, 404, 429]
    assert said[2].headers["retry-after"]
    assert (counters.usage("app").total.requests, counters.usage("app").under_way) == (2, 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"decision_id": "a", "correct": "yes"}, "correct"),
        ({"correct": True}, "decision_id"),
        ({"decision_id": "a", "corect": True}, "did you mean 'correct'"),
        ({"decision_id": "a", "note": "x" * 10_001}, "note"),
        ([], "JSON object"),
    ],
)
def test_feedback_that_says_nothing_is_refused(log: DecisionLog, body: Any, said: str) -> None:
    with live(app_of(log=log)) as url:
        reply = post(url, "/v1/feedback", body)
    assert (reply.status_code, said in reply.json()["error"]["message"]) == (400, True)


def test_without_a_log_there_is_nothing_to_label() -> None:
    with live(app_of()) as url:
        reply = post(url, "/v1/feedback", {"decision_id": "a"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_log")


def test_labels_of_wrong_answers_raise_the_alarm_everywhere(log: DecisionLog) -> None:
    """A promise of 5 % at most, and every audited answer is wrong."""
    told: Queue[dict[str, Any]] = Queue()

    async def heard(request: Request) -> Response:
        told.put(await request.json())
        return Response()

    with live(Starlette(routes=[Route("/alarm", heard, methods=["POST"])])) as hook:
        audit, webhook = AuditSettings(share=1.0), WebhookSettings(url=f"{hook}/alarm")
        settings = ServerSettings(dashboard=False, audit=audit, webhook=webhook)
        with live(app_of(keys=keys_of(**HOUSE), log=log, settings=settings)) as url:
            for number in range(12):
                decision = ask(url, headers=bearer("app")).headers["x-gate-decision-id"]
                assert log.writer.flush()
                assert feedback(url, "app", decision, correct=False).status_code == 200, "kept, and not counted"
                assert feedback(url, "desk", decision, correct=False).status_code == 200
                promise = get(url, "/readyz", bearer("ops")).json()["promise"]
                assert promise["audited"] == promise["wrong"] == number + 1
                if promise["alarm"]:
                    break
            else:
                pytest.fail("no alarm")
            said = told.get(timeout=10)
            shown = get(url, "/metrics", bearer("ops")).text
    assert (said["policy"], said["wrong"], said["e_value"]) == ("balanced", number + 1, promise["e_value"])
    assert promise["promised"] == 0.05
    assert 'gate_monitor_alarm{policy="balanced"} 1.0' in shown
    assert told.empty(), "it is told once"


# --- operations --------------------------------------------------------------------------------------------------


def test_what_there_is_to_know_is_for_a_key_that_may_know_it(log: DecisionLog) -> None:
    held = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
    gateways = FakeGateway(certificate=held), FakeGateway(name="other", void=("x",), certificate=held)
    with live(app_of(*gateways, keys=keys_of(**HOUSE), log=log)) as url:
        for name in (None, "app", "desk"):
            reply = get(url, "/readyz", None if name is None else bearer(name))
            assert (reply.status_code, reply.json()) == (200, {"status": "ready"})
        assert get(url, "/readyz", {"authorization": "Bearer wrong"}).json() == {"status": "ready"}
        shown = get(url, "/readyz", bearer("ops")).json()
        assert (shown["policy"], shown["certificate"], shown["reload_error"]) == ("balanced", "certified", None)
        assert [each["certificate"] for each in shown["policies"]] == ["certified", "void; x"]
        assert shown["log"].keys() == {"place", "waiting", "written", "dropped", "failed"}
        assert get(url, "/metrics", bearer("app")).status_code == 403
        assert get(url, "/metrics").status_code == 401
        assert get(url, "/metrics", bearer("ops")).headers["content-type"].startswith("text/plain")
        assert get(url, "/healthz").json() == {"status": "ok"}
        assert get(url, "/openapi.json").json()["openapi"] == "3.1.0"


def test_it_is_not_ready_while_it_could_log_nothing() -> None:
    log = Noted()
    log.full = True
    with live(app_of(log=log)) as url:
        reply = get(url, "/readyz")
        assert (reply.status_code, reply.json()["status"]) == (503, "log_unavailable")
        refused = ask(url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "log_unavailable")
        assert refused.headers["retry-after"] == "1"
        log.full = False
        assert get(url, "/readyz").json()["status"] == "ready"


def test_a_log_that_cannot_be_written_and_may_lose_nothing_stops_the_deciding(tmp_path: Path) -> None:
    """A real one: its database is locked by somebody else until it may go on."""
    path = tmp_path / "log.db"
    log = open_log(f"sqlite:///{path}", queue=3, when_full="refuse", retention_days=None)
    with sqlite3.connect(path, isolation_level=None) as locking, live(app_of(log=log)) as url:
        locking.execute("BEGIN EXCLUSIVE")
        statuses = [ask(url).status_code for _ in range(5)]
        assert statuses[:3] == [200] * 3
        assert statuses[-1] == 503
        assert get(url, "/readyz").status_code == 503
        locking.execute("COMMIT")
        until(lambda: ask(url).status_code == 200)
    locking.close()
    log.close()
    assert log.writer.dropped == 0
