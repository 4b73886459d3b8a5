"""Observing: the first draft goes out as it is, and what would have been decided is logged behind it."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gate.assemble import load_gateway
from gate.drivers import Recording
from gate.errors import UpstreamError
from gate.policy import read
from gate.proxy.doors import CHAT, DOORS, MESSAGES, Door
from gate.proxy.observing import OBSERVED, FirstDraft, observed, on_trial
from gate.serving_settings import ServingSettings
from gate.traces import TapeEntry
from gate.types import Action, Cost, Generation, Generations
from tests.proxy.asking import saying
from tests.proxy.fake_gateway import CALLING, DRAFT_COST, GENERATION, FakeGateway, outcome_of
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, ask, asking, seen, sent_and_open, streaming
from tests.proxy.served import app_of
from tests.upstreams.faulty_server import FaultyServer, chat, status

EACH_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
OBSERVE = ServingSettings(mode="observe")
DECLINING = Generation("", refusal="I cannot help with that.")


def observing(gateway: FakeGateway, **more: Any) -> tuple[Any, Noted]:
    log = Noted()
    return app_of(gateway, log=log, **more), log


# --- reading along -----------------------------------------------------------------------------------------------


def first_draft() -> tuple[FirstDraft, asyncio.Event]:
    news = asyncio.Event()
    return FirstDraft(news), news


def test_the_first_draft_is_read_and_no_later_one() -> None:
    first, news = first_draft()
    first.begun("small/closed_book")
    assert first.grew("Nige", ())
    assert news.is_set()
    first.grew("ria", ())
    assert (first.take(), first.take()) == ("Nigeria", "")
    first.done(GENERATION)
    first.begun("large/closed_book")
    first.grew("Ghana", ())
    first.done(DECLINING)
    assert (first.draft, first.take()) == (GENERATION, "")


def test_one_of_which_nothing_came_is_none() -> None:
    first, news = first_draft()
    first.begun("small/with_passages")
    first.begun("small/closed_book")
    assert not news.is_set()
    first.grew("Nigeria", ())
    first.done(GENERATION)
    assert (first.draft, first.take()) == (GENERATION, "Nigeria")


def test_one_that_shows_nothing_while_it_is_written_is_there_when_it_is_whole() -> None:
    first, news = first_draft()
    first.begun("small/closed_book")
    first.grew("", ())
    assert not news.is_set()
    first.done(CALLING)
    assert news.is_set()
    assert (first.draft, first.take()) == (CALLING, "")


def test_a_draft_as_what_was_decided_has_its_own_cost_and_no_confidence() -> None:
    tape = [
        TapeEntry("a", "generate", Cost(1, 99, 9), Generations((Generation("Lagos where?"),)), to="rewriter"),
        TapeEntry("b", "generate", DRAFT_COST, Generations((GENERATION,)), to="small"),
    ]
    gateway: Any = FakeGateway()
    outcome, record = observed(GENERATION, Recording("feed", tape), gateway)
    assert (outcome.action, outcome.text, outcome.upstream) == (Action.ANSWER, GENERATION.text, "small")
    assert (outcome.cost, outcome.confidence, outcome.decision.reason) == (DRAFT_COST, None, OBSERVED)
    assert (record.id, record.policy, record.certified, record.outcome) == ("feed", "balanced", False, outcome)
    unpriced, _ = observed(GENERATION, Recording("feed"), gateway)
    assert (unpriced.cost, unpriced.upstream) == (Cost(), gateway.policy.ladder[0])
    assert observed(DECLINING, Recording("feed"), gateway)[0].text == DECLINING.refusal


def test_the_draft_on_trial_is_the_answer_or_what_was_withheld() -> None:
    assert [on_trial(each) for each in (*saying(GENERATION), *saying(None))] == [GENERATION, None]


# --- over a server -----------------------------------------------------------------------------------------------


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_draft_goes_out_at_once_and_the_decision_is_logged_behind_it(door: Door, stream: bool) -> None:
    """What judges is held up until the whole response was read."""
    judged = threading.Event()
    gateway = FakeGateway(lambda question: outcome_of(None), draft=GENERATION, judging=judged, serving=OBSERVE)
    app, log = observing(gateway)
    with live(app) as url:
        if stream:
            with streaming(url, door) as (reply, events):
                told = seen(door, events)
            assert (told.text, told.instead) == (GENERATION.text, "")
            assert told.gate["action"] == "answer"
            assert told.gate["reason"] == "observed"
            assert told.gate["confidence"] is None
            assert told.gate["certificate"] == "none"
        else:
            reply = ask(url, door)
            assert GENERATION.text in reply.text
            assert (reply.headers["x-gate-action"], reply.headers["x-gate-reason"]) == ("answer", "observed")
            assert '"gate":' not in reply.text
        assert reply.status_code == 200
        assert (reply.headers["x-gate-mode"], reply.headers["x-gate-certificate"]) == ("observe", "none")
        assert log.empty
        judged.set()
        entry = log.next()
    assert (entry.mode, entry.status, entry.streamed, entry.retracted) == ("observe", 200, stream, False)
    assert entry.record.action is Action.ABSTAIN
    assert reply.headers["x-gate-decision-id"] == entry.record.id
    assert gateway.observing == [True]


def test_the_usage_told_is_of_the_draft_and_that_paid_for_is_of_all() -> None:
    app, log = observing(FakeGateway(draft=GENERATION, serving=OBSERVE))
    with live(app) as url:
        assert ask(url).json()["usage"]["total_tokens"] == DRAFT_COST.tokens
        assert log.next().record.cost == outcome_of(GENERATION).cost


def test_a_server_that_stops_waits_for_what_is_still_judged() -> None:
    gateway = FakeGateway(draft=GENERATION, judging=0.3, serving=OBSERVE)
    app, log = observing(gateway)
    with live(app) as url:
        ask(url)
        assert log.empty
    assert log.next().record.action is Action.ANSWER


def test_seconds_are_until_the_response_not_until_the_verdict() -> None:
    judged = threading.Event()
    app, log = observing(FakeGateway(draft=GENERATION, judging=judged, serving=OBSERVE))
    with live(app) as url:
        began = time.perf_counter()
        ask(url)
        waited = time.perf_counter() - began
        judged.set()
        assert log.next().seconds <= waited


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("draft", [CALLING, DECLINING], ids=["a call", "the model's refusal"])
def test_a_draft_without_text_goes_out_as_it_is(door: Door, stream: bool, draft: Generation) -> None:
    """Neither gate's own place for refusals nor its errors bear on it."""
    serving = ServingSettings(mode="observe", abstention="error", refusal_in="content")
    app, log = observing(FakeGateway(lambda question: outcome_of(None), draft=draft, serving=serving))
    with live(app) as url:
        if stream:
            with streaming(url, door) as (reply, events):
                told = seen(door, events)
            shown, instead, calls = told.text, told.instead, told.calls
        else:
            reply = ask(url, door)
            shown, instead, calls = _read_whole(door, reply.json())
        assert reply.status_code == 200
        assert log.next().mode == "observe"
    if draft is CALLING:
        assert (shown or "", instead or "", len(calls)) == ("", "", 1)
    elif door is MESSAGES:
        assert (shown, len(calls)) == (DECLINING.refusal, 0)
    else:
        assert (shown or "", instead, len(calls)) == ("", DECLINING.refusal, 0)


def _read_whole(door: Door, body: Any) -> tuple[Any, Any, list[Any]]:
    """Text, refusal and calls."""
    if door is CHAT:
        message = body["choices"][0]["message"]
        return message["content"], message["refusal"], message.get("tool_calls", [])
    if door is MESSAGES:
        texts = [block["text"] for block in body["content"] if block["type"] == "text"]
        return "".join(texts), "", [block for block in body["content"] if block["type"] == "tool_use"]
    parts = [part for item in body["output"] for part in item.get("content", ())]
    said = {kind: "".join(part.get(kind, "") for part in parts) for kind in ("text", "refusal")}
    return said["text"], said["refusal"], [item for item in body["output"] if item["type"] == "function_call"]


def test_several_drafts_are_choices_each_as_it_is() -> None:
    drafts = iter([outcome_of(GENERATION), outcome_of(Generation("Ghana"))])
    app, log = observing(FakeGateway(lambda question: next(drafts), serving=OBSERVE))
    with live(app) as url:
        reply = ask(url, n=2)
        assert [c["message"]["content"] for c in reply.json()["choices"]] == [GENERATION.text, "Ghana"]
        assert [log.next().record.id for _ in range(2)] == reply.headers["x-gate-decision-id"].split(", ")
        drafts = iter([outcome_of(GENERATION), outcome_of(Generation("Ghana"))])
        with streaming(url, n=2) as (_, events):
            assert seen(CHAT, events).text == f"{GENERATION.text}Ghana"


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_upstream_that_fails_fails_as_it_does(door: Door, stream: bool) -> None:
    app, log = observing(FakeGateway(lambda question: UpstreamError("small", "is down"), serving=OBSERVE))
    with live(app) as url:
        reply = ask(url, door, stream=stream)
        assert reply.status_code == 502
        assert reply.json()["error"]["message"] == "upstream 'small': is down"
        assert reply.headers["x-gate-mode"] == "observe"
        entry = log.next()
    assert (entry.status, entry.mode, entry.record.error) == (502, "observe", "upstream 'small': is down")


def test_a_draft_that_breaks_off_in_mid_stream_ends_it_with_the_error() -> None:
    gateway = FakeGateway(lambda question: UpstreamError("small", "broke"), written=("Nige", 0.02), serving=OBSERVE)
    app, log = observing(gateway)
    with live(app) as url, streaming(url) as (_, events):
        told, entry = seen(CHAT, events), log.next()
    assert (told.text, told.error["message"], told.gate) == ("Nige", "upstream 'small': broke", {"retracted": True})
    assert (entry.status, entry.retracted) == (502, True)


def test_what_fails_once_the_draft_is_out_is_logged_and_told_to_nobody() -> None:
    gateway = FakeGateway(lambda question: UpstreamError("small", "late"), draft=GENERATION, serving=OBSERVE)
    app, log = observing(gateway)
    gateway.judging = 0.05
    with live(app) as url:
        assert ask(url).status_code == 200
        entry = log.next()
    assert (entry.status, entry.record.error) == (200, "upstream 'small': late")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_client_that_leaves_behind_its_draft_stops_nothing(stream: bool) -> None:
    judged = threading.Event()
    app, log = observing(FakeGateway(draft=GENERATION, judging=judged, serving=OBSERVE))
    with live(app) as url:
        with sent_and_open(url, asking(stream=stream)) as sock:
            got = b""
            while (b"[DONE]" if stream else b"usage") not in got:
                got += sock.recv(65536)
        judged.set()
        entry = log.next()
    assert (entry.status, entry.record.action) == (200, Action.ANSWER)


@pytest.mark.parametrize(("draw", "mode"), [(0.0, "enforce"), (0.29, "enforce"), (0.3, "observe"), (0.99, "observe")])
def test_of_a_share_of_requests_the_policy_is_enforced(draw: float, mode: str) -> None:
    serving = ServingSettings(mode="observe", enforced_share=0.3)
    gateway = FakeGateway(lambda question: outcome_of(None), draft=GENERATION, serving=serving)
    app, log = observing(gateway, draw=lambda: draw)
    with live(app) as url:
        reply = ask(url)
        assert log.next().mode == mode
    message = reply.json()["choices"][0]["message"]
    assert message["content"] == (GENERATION.text if mode == "observe" else None)
    assert reply.headers.get("x-gate-mode") == ("observe" if mode == "observe" else None)
    assert gateway.observing == [mode == "observe"]


# --- real policies -----------------------------------------------------------------------------------------------

POLICY = """\
name: watched
promise: {max_error: 0.1}
upstreams: {main: {kind: openai_chat, base_url: "BASE", model: m-1}}
ladder: [main]
tiers: TIERS
evidence: EVIDENCE
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
abstain: I do not know.
serving: {mode: observe}
"""
VOID = """\
on_void: abstain
certificate: {alpha: 0.1, delta: 0.05, n: 100, answered: 60, errors: 1, bound: 0.08, segment: all, date: "2026-01-01",
  fingerprints: {policy: another}}
"""
SAMPLED = ("[[draft], [samples, meanings]]", "{samples: {n: 3}, meanings: {judge: lexical}}")
BEST_OF = (SAMPLED[0], "{draft: {best_of: 3, verify: {votes: 2}}, samples: {n: 3}, meanings: {judge: lexical}}")


def policy_in(folder: Path, base: str, tiers: str, evidence: str, more: str = "") -> str:
    path = folder / "watched.yaml"
    path.write_text(POLICY.replace("BASE", base).replace("TIERS", tiers).replace("EVIDENCE", evidence) + more)
    assert read(path).policy.serving.mode == "observe"
    return str(path)


def test_a_policy_that_would_abstain_from_everything_still_observes(tmp_path: Path) -> None:
    """Enforced, a void certificate keeps it from asking anything at all."""
    with FaultyServer(chat("Nigeria")) as server:
        gateway = load_gateway(policy_in(tmp_path, server.url, *SAMPLED, VOID))
        assert gateway.void
        log = Noted()
        with live(app_of(gateway, log=log)) as url:
            reply = ask(url)
            assert reply.json()["choices"][0]["message"]["content"] == "Nigeria"
            entry = log.next()
    assert reply.headers["x-gate-certificate"] == "none"
    assert (entry.record.action, entry.record.certified, entry.mode) == (Action.ANSWER, False, "observe")


def test_a_draft_that_is_the_best_of_several_goes_out_once_it_is_found(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria", "Ghana", "Kenya")) as server:
        gateway, log = load_gateway(policy_in(tmp_path, server.url, *BEST_OF)), Noted()
        with live(app_of(gateway, log=log)) as url:
            reply = ask(url)
            assert reply.json()["choices"][0]["message"]["content"] in ("Nigeria", "Ghana", "Kenya")
            assert reply.headers["x-gate-reason"] == "observed"
            assert log.next().record.action is Action.ABSTAIN


def test_the_error_of_a_real_upstream_comes_as_it_was(tmp_path: Path) -> None:
    body = b'{"error": {"message": "model m-1 is loading", "code": "loading"}}'
    with FaultyServer(status(400, body)) as server:
        gateway = load_gateway(policy_in(tmp_path, server.url, *SAMPLED))
        with live(app_of(gateway)) as url:
            reply = ask(url)
    assert reply.status_code == 400
    assert "model m-1 is loading" in reply.json()["error"]["message"]


def test_a_question_for_which_the_budget_has_no_room_has_no_draft_and_the_decision_stands(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria")) as server:
        gateway = load_gateway(policy_in(tmp_path, server.url, *SAMPLED))
        with live(app_of(gateway)) as url:
            reply = ask(url, gate={"budget": {"tokens": 1}})
        assert not server.asked
    assert reply.json()["choices"][0]["message"]["refusal"]
    assert reply.headers["x-gate-reason"] == "budget_spent"
