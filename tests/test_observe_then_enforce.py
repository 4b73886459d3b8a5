"""Observe, then enforce, over a real server: what goes out, what is kept of it, and what it is good for later."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gate.assemble import load_gateway
from gate.log.jsonl import read
from gate.log.kept import Kept, Sought
from gate.log.opening import DecisionLog, existing_log, open_log
from gate.proxy.app import create_app
from gate.proxy.drift import PromiseWatch
from gate.proxy.policies import Policies
from gate.proxy.service import Service
from gate.proxy.settings import AuditSettings, LogSettings, ServerSettings
from tests.commands import gate
from tests.proxy.live_server import live

POLICY = """\
name: ramp
promise: {max_error: 0.1}
upstreams:
  small: {kind: pocket, model: small}
  large: {kind: pocket, model: large}
ladder: [small, large]
tiers: [[draft], [samples, meanings]]
evidence: {samples: {n: 4, seed: 1}}
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
"""
SOME = (
    "Where is Lagos?",
    "Where is Leicester?",
    "Where is Nanjing?",
    "What is the capital of Peru?",
    "Where is Kunri?",
)
DAY = 86_400.0


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'decisions.db'}"


def written(folder: Path, serving: str, policy: str = POLICY) -> str:
    path = folder / "ramp.yaml"
    path.write_text(f"{policy}{serving}\n", encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def served(policy: str, address: str, *, seed: int = 0, **audit: Any) -> Iterator[tuple[httpx.Client, DecisionLog]]:
    """A server of one policy with a log that keeps text. What is left to chance comes from the seed."""
    audits = AuditSettings(**audit)
    settings = ServerSettings(log=LogSettings(url=address, keep="text"), audit=audits)
    log = open_log(address, keep="text")
    watch = PromiseWatch(log.reader, audits)
    service = Service(Policies.load([policy]), settings, log=log, watch=watch, draw=Random(seed).random)
    with live(create_app(service)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client, log
    log.close()


def kept(log: DecisionLog, count: int) -> dict[str, Kept]:
    """Once all of them are there: what is decided behind an answer comes after it."""
    until = time.monotonic() + 10
    while len(found := log.reader.recent(Sought(), 200)) < count:
        assert time.monotonic() < until
        time.sleep(0.02)
    return {each.id: each for each in found}


def asked(client: httpx.Client, question: str) -> httpx.Response:
    body = {"model": "gate", "messages": [{"role": "user", "content": question}]}
    return client.post("/v1/chat/completions", json=body).raise_for_status()


def test_a_share_of_the_requests_is_enforced_and_the_others_get_the_first_draft(tmp_path: Path, address: str) -> None:
    alone = POLICY.replace("[small, large]", "[small]")
    policy = written(tmp_path, "serving: {mode: observe, enforced_share: 0.2}", alone)
    with served(policy, address, seed=11) as (client, log):
        replies = [asked(client, "Where is Kunri?") for _ in range(150)]
        found = kept(log, 150)
    enforced = 0
    for reply in replies:
        message, mode = reply.json()["choices"][0]["message"], reply.headers.get("x-gate-mode", "enforce")
        decision = found[reply.headers["x-gate-decision-id"]]
        assert decision.mode == mode
        assert decision.action == "abstain", "what would have been done is known of all"
        assert (message["refusal"] is None) == (mode == "observe")
        if mode == "observe":
            assert decision.answer == message["content"]
        enforced += mode == "enforce"
    assert 14 <= enforced <= 48  # binomial of 150 and 0.2: beyond it once in 2,000


def test_a_label_lands_on_what_went_out_days_after_and_another_policy_is_served_by_then(
    tmp_path: Path, address: str
) -> None:
    with served(written(tmp_path, "serving: {mode: observe}"), address, share=1.0) as (client, log):
        reply = asked(client, "Where is Leicester?")
        kept(log, 1)
    id_, said = reply.headers["x-gate-decision-id"], reply.json()["choices"][0]["message"]["content"]
    with existing_log(address) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE gate_decisions SET at = at - :days"), {"days": 6 * DAY})
    other = written(tmp_path, "serving: {mode: enforce}", POLICY.replace("0.8", "0.6"))
    with served(other, address, share=1.0) as (client, log):
        body = {"decision_id": id_, "correct": said == "United Kingdom", "answer": "United Kingdom"}
        assert client.post("/v1/feedback", json=body).json() == {"id": id_, "kept": True}
        found = log.reader.find(id_)
        monitor = log.reader.monitor("ramp", found.policy_fingerprint) if found else None
    assert found is not None
    assert found.label is not None
    assert (found.mode, found.answer, found.stage) == ("observe", said, "large/closed_book/tier1")
    assert found.further, "it would have gone on to another model: the label is not of that one's answer"
    assert (found.label.correct, found.label.answer) == (said == "United Kingdom", "United Kingdom")
    assert monitor is None, "what was let out without gate's say breaks no promise"


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize(
    "ran",
    [POLICY.replace("0.8", "0.1"), f"{POLICY}budget: {{calls: 2}}\n"],
    ids=["answers at once", "gives up at once"],
)
def test_with_all_evidence_a_stricter_policy_is_replayed_as_if_it_had_been_asked(
    tmp_path: Path, address: str, mode: str, ran: str
) -> None:
    policy = written(tmp_path, f"serving: {{mode: {mode}}}", ran)
    strict = tmp_path / "strict.yaml"
    strict.write_text(POLICY, encoding="utf-8")
    judged, traces = {}, {full: tmp_path / f"{full}.jsonl" for full in (0.0, 1.0)}
    for full, path in traces.items():
        url = f"{address}{full}"
        with served(policy, url, full_evidence=full) as (client, log):
            for question in SOME:
                asked(client, question)
            assert {each.stage.partition("/")[0] for each in kept(log, len(SOME)).values()} == {"small"}
        assert gate("log", "export", "--url", url, "-o", path).code == 0
        judged[full] = gate("replay", strict, path, "--json").json
    assert judged[0.0]["not_judged"], "else this would show nothing"
    assert (judged[1.0]["judged"], judged[1.0]["not_judged"]) == (len(SOME), {})
    fewer = tmp_path / "fewer.yaml"
    fewer.write_text(POLICY.replace("n: 4", "n: 3").replace("0.8", "0.7"), encoding="utf-8")
    assert gate("replay", fewer, traces[1.0], "--json").json["not_judged"] == {}, "three samples are among four"
    with contextlib.closing(load_gateway(str(strict))) as gateway:
        for record in read(traces[1.0]):
            assert record.question is not None
            replayed, (live_one, _) = gateway.replay(record), gateway.ask(record.question)
            assert (replayed.text, replayed.decision.stage) == (live_one.text, live_one.decision.stage)
