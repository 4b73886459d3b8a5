"""Which labels count, for how much, what the alarm tells to whom, and that it rings neither too often nor never."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gate.errors import ConfigError, GateError, RequestError
from gate.guarantees.monitor import DriftMonitor
from gate.log.kept import Kept, Label
from gate.proxy import drift
from gate.proxy.drift import PromiseWatch
from gate.proxy.settings import AuditSettings, WebhookSettings
from tests.proxy.live_server import live

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def kept(id_: str = "one", **changed: Any) -> Kept:
    made = Kept(
        id=id_, at=1.0, door="chat", key="", request_id="", policy="mine", policy_fingerprint="f1", certified=True,
        mode="enforce", action="answer", reason="confident", stage="small/closed_book/tier0", p=0.9, threshold=0.8,
        calls=1, prompt_tokens=1, completion_tokens=1, money=0.0, seconds=0.1, status=200, error="", streamed=False,
        retracted=False, audit=0.1, full_evidence=False, question_hash="", question="", answer="",
    )  # fmt: skip
    return replace(made, **changed)


@dataclass
class Log:
    """The part of a decision log that labels need, in memory."""

    decisions: dict[str, Kept] = field(default_factory=dict)
    monitors: dict[tuple[str, str], DriftMonitor] = field(default_factory=dict)
    weights: list[float] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def find(self, decision: str) -> Kept | None:
        return self.decisions.get(decision)

    def label(self, label: Label) -> bool:
        self.labels.append(label)
        self.decisions[label.decision] = replace(self.decisions[label.decision], label=label)
        return True

    def monitor(self, policy: str, fingerprint: str) -> DriftMonitor | None:
        return self.monitors.get((policy, fingerprint))

    def update_monitor(
        self, policy: str, fingerprint: str, wrong: bool, weight: float, fresh: DriftMonitor
    ) -> DriftMonitor:
        self.weights.append(weight)
        after = self.monitors.get((policy, fingerprint), fresh).updated(wrong, weight)
        self.monitors[policy, fingerprint] = after
        return after


class Serving:
    def __init__(self, fingerprint: str = "f1") -> None:
        promise = SimpleNamespace(max_error=0.05, confidence=0.95)
        policy = SimpleNamespace(promise=promise)
        self.gateway: Any = SimpleNamespace(name="mine", policy_fingerprint=fingerprint, policy=policy)

    def get(self, name: str = "") -> Any:
        if name not in ("", "mine"):
            raise RequestError("no such policy", status=404)
        return self.gateway

    def all(self) -> tuple[Any, ...]:
        return (self.gateway,)


def watching(*decisions: Kept, share: float = 0.1, counts: Any = "drawn", **kept_: Any) -> tuple[PromiseWatch, Log]:
    log = Log({decision.id: decision for decision in decisions})
    return PromiseWatch(log, AuditSettings(share=share, counts=counts), **kept_), log  # type: ignore[arg-type]


def said(correct: bool | None, decision: str = "one") -> Label:
    return Label(decision, correct, "desk", "review")


# --- which labels count ------------------------------------------------------------------------------------------


async def test_a_drawn_answer_counts_by_the_inverse_of_its_chance() -> None:
    told: list[Any] = []
    watch, log = watching(kept(), on_change=lambda *what: told.append(what))
    after = await watch.label(said(False), Serving())
    assert after is not None
    assert (after.alpha, round(after.delta, 9), after.largest_weight) == (0.05, 0.05, 10.0)
    assert (after.audited, after.wrong, log.weights) == (1, 1, [10.0])
    assert watch.state("mine") == {
        "alarm": False, "audited": 1, "wrong": 1, "risk": 1.0, "promised": 0.05, "e_value": after.e_value
    }  # fmt: skip
    assert told == [("mine", after)]
    assert watch.state("other") is None


@pytest.mark.parametrize(
    "decision",
    [
        kept(action="abstain"),
        kept(action="clarify"),
        kept(action=""),
        kept(mode="observe"),
        kept(audit=None),
        kept(policy_fingerprint="f0"),
        kept(policy="gone"),
        kept(label=Label("one", True, "desk", "review")),
    ],
    ids=["abstention", "question back", "error", "observed", "not drawn", "older", "served no more", "told before"],
)
async def test_others_are_kept_and_do_not_count(decision: Kept) -> None:
    watch, log = watching(decision)
    assert await watch.label(said(False), Serving()) is None
    assert log.labels == [said(False)]
    assert not log.monitors


async def test_who_cannot_tell_leaves_it_to_the_next() -> None:
    watch, log = watching(kept())
    assert await watch.label(said(None), Serving()) is None
    assert await watch.label(said(True), Serving()) is not None
    assert await watch.label(said(False), Serving()) is None
    assert (len(log.labels), log.monitors["mine", "f1"].audited) == (3, 1)


async def test_what_users_volunteer_counts_only_where_every_answer_gets_a_label() -> None:
    volunteered = Label("one", False, "app")
    watch, log = watching(kept())
    assert await watch.label(volunteered, Serving()) is None
    after = await watch.label(said(True), Serving())
    assert after is not None, "who was asked is heard after it"
    assert (after.audited, after.wrong, len(log.labels)) == (1, 0, 2)
    watch, log = watching(kept(), counts="all")
    assert await watch.label(volunteered, Serving()) is not None
    assert await watch.label(said(True), Serving()) is None, "once"


async def test_two_at_once_count_once() -> None:
    watch, log = watching(kept())
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(watch.label(said(False), Serving()))
    assert log.monitors["mine", "f1"].audited == 1


async def test_where_every_answer_gets_a_label_each_counts_alike() -> None:
    watch, log = watching(kept(audit=None), kept("two"), counts="all")
    await watch.label(said(False), Serving())
    after = await watch.label(said(True, "two"), Serving())
    assert after is not None
    assert (after.largest_weight, log.weights) == (1.0, [1.0, 1.0])


async def test_a_share_that_was_lowered_since_counts_as_the_largest_then() -> None:
    watch, log = watching(kept(), kept("two", audit=0.02), share=0.1)
    await watch.label(said(True), Serving())
    watch.audit = AuditSettings(share=0.02)
    after = await watch.label(said(True, "two"), Serving())
    assert after is not None
    assert (after.largest_weight, log.weights) == (10.0, [10.0, 10.0])


async def test_what_is_not_there_is_said() -> None:
    watch, log = watching()
    with pytest.raises(RequestError, match="no such decision") as refused:
        await watch.label(said(True), Serving())
    assert refused.value.status == 404
    assert not log.labels


async def test_what_other_workers_were_told_is_read() -> None:
    told: list[Any] = []
    watch, log = watching(on_change=lambda *what: told.append(what))
    await watch.refresh(Serving())
    assert watch.state("mine") is None
    log.monitors["mine", "f1"] = DriftMonitor(alpha=0.05, delta=0.05).updated(True)
    await watch.refresh(Serving())
    state = watch.state("mine")
    assert state is not None
    assert state["audited"] == 1
    await watch.refresh(Serving("f2"))
    assert watch.state("mine") is None, "another policy, another monitor"
    assert [name for name, _ in told] == ["mine"] * 3


# --- the alarm ---------------------------------------------------------------------------------------------------


@dataclass
class Hook:
    """A desk that is told: it refuses the first few times."""

    refusals: Sequence[int] = ()
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.posts.append((dict(request.headers), await request.body()))
        refused = self.refusals[len(self.posts) - 1 : len(self.posts)]
        return Response(status_code=refused[0] if refused else 204, headers={"location": "/elsewhere"})

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/alarm", self.take, methods=["POST"]), Route("/elsewhere", self.take)])


@pytest.fixture
def hook() -> Hook:
    return Hook((503, 302))


@pytest.fixture
def address(hook: Hook) -> Iterator[str]:
    with live(hook.app()) as url:
        yield f"{url}/alarm"


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = drift.tenacity.wait_none()
    monkeypatch.setattr(drift.tenacity, "wait_random_exponential", lambda **kept: wait)


async def ring(watch: PromiseWatch, log: Log, times: int = 8) -> None:
    for number in range(times):
        log.decisions[f"d{number}"] = kept(f"d{number}")
        await watch.label(said(False, f"d{number}"), Serving())


async def until(done: Any) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.005)


async def test_the_first_alarm_is_posted_signed_and_retried(
    hook: Hook, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    quick(monkeypatch)
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    watch, log = watching(webhook=WebhookSettings(url=address, secret_env="HOOK_SECRET"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run(Serving(), every=30))
        await ring(watch, log)
        await until(lambda: len(hook.posts) == 3)
        await asyncio.sleep(0.02)
        task.cancel()
    assert len(hook.posts) == 3, "refused, sent elsewhere, taken; and told of once"
    headers, body = hook.posts[-1]
    signed = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["x-gate-signature"] == f"sha256={signed}"
    assert {posted["idempotency-key"] for posted, _ in hook.posts} == {"gate-alarm-mine-f1"}
    told = json.loads(body)
    assert (told["policy"], told["fingerprint"]) == ("mine", "f1")
    assert told["wrong"] == told["audited"] >= 2
    assert told["risk"] == 1.0
    assert told["e_value"] >= 20
    assert told["at"] > 1.7e9
    assert [record.levelno for record in caplog.records if record.name == "gate.proxy.drift"] == [logging.ERROR]
    assert "the promise of the policy 'mine' is broken" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_webhook_that_cannot_be_told_is_logged_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    quick(monkeypatch)
    watch, log = watching(webhook=WebhookSettings(url="http://127.0.0.1:9/token-in-the-path"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run(Serving(), every=30))
        await ring(watch, log)
        await until(lambda: "was not told" in caplog.text)
        assert not task.done()
        task.cancel()
    assert "token-in-the-path" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("gate"))


async def test_a_log_that_cannot_be_read_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watch, log = watching()

    def broken(*which: str) -> None:
        raise GateError("the database is away")

    log.monitor = broken  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run(Serving(), every=0.001))
        await until(lambda: caplog.text.count("the database is away") >= 2)
        task.cancel()


def test_without_its_secret_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(ConfigError, match="HOOK_SECRET"):
        watching(webhook=WebhookSettings(url="http://127.0.0.1:9", secret_env="HOOK_SECRET"))


def test_an_address_that_is_none_is_refused_before_there_is_an_alarm() -> None:
    with pytest.raises(ConfigError, match="http://"):
        watching(webhook=WebhookSettings(url="desk.example.org/alarm"))


# --- statistics --------------------------------------------------------------------------------------------------


async def rings(watch: PromiseWatch, log: Log, risk: float, answers: int, rng: random.Random) -> bool:
    """Whether it rings over so many answers that are wrong by chance, of which one in ten is drawn and labelled."""
    for _ in range(answers):
        if rng.random() < 0.1:
            log.decisions["one"] = kept()
            after = await watch.label(said(rng.random() >= risk), Serving())
            if after is not None and after.alarm:
                return True
    return False


async def test_false_alarms_are_as_rare_as_promised_and_true_ones_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a risk of exactly alpha, at most delta = .05 of runs ring: of 150, at most 7.5 on average, and 14 or fewer but
    for one time in 100 (binomial). At three times alpha nearly all ring within 250 audited answers."""

    async def at_once(function: Any, *args: Any) -> Any:
        return function(*args)

    monkeypatch.setattr(drift.anyio.to_thread, "run_sync", at_once)
    monkeypatch.setattr(drift.log, "error", lambda *what: None)
    rng = random.Random(7)
    false = [await rings(*watching(), 0.05, 2500, rng) for _ in range(150)]
    assert sum(false) <= 14
    true = [await rings(*watching(), 0.15, 2500, rng) for _ in range(40)]
    assert sum(true) >= 38
