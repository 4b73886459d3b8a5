"""The gateway over scripted upstreams: asking, traces, replay, budgets, void certificates, sharing and closing."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, PrivateAttr

import gate
from gate.drivers import Recording, World
from gate.drivers.world import decision_id
from gate.effects import STOPPED_EARLY, Flow, Generate
from gate.errors import EvidenceUnavailable, ReplayGap, UnknownName, UpstreamError, trace_of
from gate.evidence import DraftSource, MeaningsSource, SamplesSource
from gate.gateway import Gateway
from gate.given import FOREIGN, JUDGED_ALONE, NO_SAMPLES, OTHER_EVIDENCE, Given, More
from gate.log.explain import explanation
from gate.log.jsonl import from_json, to_json, without_text
from gate.policy import read
from gate.ports import Evidence, Fact, Price, Profile, Round, Uses
from gate.rules import ThresholdRule
from gate.traces import TraceRecord
from gate.types import Action, Budget, Cost, Generation, Generations, Outcome, Passage, Question, TokenLogprob, Usage
from gate.upstreams import OpenAIChat
from tests.drivers.running import doubtful, untimed
from tests.scripted import Scripted, always, plan_over, world_of
from tests.upstreams.faulty_server import FaultyServer, chat, echoes

ASKED = Question.from_text("Where is Lagos?")
RUNNING = {"policy": "abc", "upstream:small": "scripted"}
POLICY = """\
name: mine
promise: {max_error: 0.1}
upstreams: {small: {kind: scripted}}
ladder: [small]
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
"""
CERTIFICATE = """\
certificate: {alpha: 0.1, delta: 0.05, n: 100, answered: 60, errors: 1, bound: 0.08, segment: all, date: "2026-01-01",
  fingerprints: {policy: abc, "upstream:small": scripted}}
"""


def gateway(
    folder: Path, small: Scripted, more: str = "", *, running: dict[str, str] | None = None, **plan: Any
) -> Gateway:
    path = folder / "mine.yaml"
    path.write_text(POLICY + more, encoding="utf-8")
    upstreams = {"small": small}
    return Gateway(read(path).policy, plan_over(upstreams, **plan), world_of(upstreams), running or RUNNING)


def aask(gateway: Gateway, question: Question = ASKED) -> tuple[Outcome, TraceRecord]:
    """Ask on an event loop of its own, and close what that opened."""

    async def main() -> tuple[Outcome, TraceRecord]:
        try:
            return await gateway.aask(question)
        finally:
            await gateway.aclose()

    return asyncio.run(main())


def test_ask_and_aask_give_equal_outcomes_and_a_trace_each(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", doubtful), passages=True)
    (outcome, trace), (later, second) = mine.ask(ASKED), aask(mine)
    assert untimed(outcome) == untimed(later)
    assert (outcome.action, outcome.text) == (Action.ANSWER, "Nigeria")
    assert trace.id != second.id
    assert (trace.policy, trace.policy_fingerprint) == ("mine", mine.policy.fingerprint)
    assert (trace.question, trace.outcome, trace.steps) == (ASKED, outcome, outcome.steps)
    assert (trace.action, trace.cost, trace.error) == (outcome.action, outcome.cost, None)
    assert [entry.kind for entry in trace.tape] == ["generate", "generate", "retrieve", "generate", "generate"]
    mine.close()


def test_trace_ids_are_unique(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    assert len({mine.ask(ASKED)[1].id for _ in range(30)}) == 30
    mine.close()


def test_ids_are_uuids_in_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_750_000_000_123
    monkeypatch.setattr("gate.drivers.world.time.time_ns", lambda: now * 1_000_000)
    made = uuid.UUID(decision_id())
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, now)
    monkeypatch.undo()
    random = [int(decision_id(), 16) for _ in range(300)]
    seen = [sum(number >> bit & 1 for number in random) for bit in range(80)]
    always = {62: 0, 63: 300, 76: 300, 77: 300, 78: 300, 79: 0}
    assert {bit: count for bit, count in enumerate(seen) if not 75 < count < 225} == always, "8.7 standard deviations"


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
def test_an_error_carries_the_trace_with_its_tape_and_cost(threaded: bool, tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", lambda e, i: UpstreamError("small", "is down", status=503)))
    with pytest.raises(UpstreamError, match="is down") as caught:
        mine.ask(ASKED) if threaded else aask(mine)
    trace = caught.value.trace
    assert trace is not None
    assert trace.error == "upstream 'small': is down"
    assert (trace.outcome, trace.action, trace.steps) == (None, None, ())
    assert [entry.failure and entry.failure.status for entry in trace.tape] == [503]
    assert trace.cost.calls == 1
    with pytest.raises(UpstreamError, match="is down"):
        mine.replay(trace)
    mine.close()


class BrokenSignal:
    """A signal of a third party that raises, as none may."""

    name = "broken"
    bounds = (0.0, 1.0)
    needs: tuple[type[Fact], ...] = ()

    def measure(self, evidence: Evidence) -> float:
        raise RuntimeError("the user's own words")


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
def test_a_fault_carries_the_trace_too_and_the_trace_only_its_kind(threaded: bool, tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    mine.plan = dataclasses.replace(mine.plan, signals=(BrokenSignal(),))
    with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
        mine.ask(ASKED) if threaded else aask(mine)
    trace = trace_of(caught.value)
    assert trace is not None
    assert trace.error == "unexpected RuntimeError"
    assert (trace.outcome, trace.action, trace.question) == (None, None, ASKED)
    assert [entry.kind for entry in trace.tape] == ["generate", "generate"]
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
def test_a_model_of_this_process_that_breaks_after_the_draft_ends_no_question(threaded: bool, tmp_path: Path) -> None:
    def breaks(effect: Generate, place: int) -> str:
        if effect.temperature == 0:
            return "Nigeria"
        raise RuntimeError("the user's own words")

    mine = gateway(tmp_path, Scripted("small", breaks))
    outcome, trace = mine.ask(ASKED) if threaded else aask(mine)
    assert outcome.action is Action.ABSTAIN
    assert [entry.failure and entry.failure.cause for entry in trace.tape] == [None, "failed: RuntimeError"]
    assert mine.replay(trace).action is Action.ABSTAIN
    mine.close()


def test_a_caller_that_goes_away_leaves_the_trace_of_what_had_happened(tmp_path: Path) -> None:
    def then_slow(effect: Generate, place: int) -> str:
        small.seconds = 30
        return "Nigeria"

    small = Scripted("small", then_slow)
    mine = gateway(tmp_path, small)

    async def main() -> asyncio.CancelledError:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(mine.aask(ASKED))
            while len(small.asked) < 2:
                await asyncio.sleep(0.001)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await asking
        await mine.aclose()
        return caught.value

    trace = trace_of(asyncio.run(main()))
    assert trace is not None
    assert trace.error == "the caller went away"
    assert (len(trace.tape), trace.cost.calls) == (1, 2), "what was called off was called all the same"
    assert trace.cost.prompt_tokens > sum(entry.cost.prompt_tokens for entry in trace.tape)
    assert (trace.outcome, trace.action) == (None, None)
    assert from_json(to_json(trace)) == trace
    mine.close()


def over_servers(folder: Path, *urls: str) -> Gateway:
    """A gateway over real servers, one a rung, that escalates when unsure."""
    path = folder / "mine.yaml"
    path.write_text(POLICY, encoding="utf-8")
    names = ("small", "large")[: len(urls)]
    options = {name: OpenAIChat.Options(base_url=url, model="m") for name, url in zip(names, urls, strict=True)}
    upstreams: dict[str, Any] = {name: OpenAIChat.from_options(name, o, Price()) for name, o in options.items()}
    return Gateway(read(path).policy, plan_over(upstreams), World(upstreams), RUNNING)


DIARY = Question.from_text("Dear diary, where is Lagos?")


def test_a_server_that_quotes_the_user_puts_nothing_into_a_trace_without_text(tmp_path: Path) -> None:
    with FaultyServer(echoes()) as refusing, FaultyServer.of(chat("Togo"), echoes()) as drafting:
        first = over_servers(tmp_path, refusing.url)
        with pytest.raises(UpstreamError) as caught:
            first.ask(DIARY)
        first.close()
        later = over_servers(tmp_path, drafting.url, refusing.url)
        outcome, trace = later.ask(DIARY)
        assert later.replay(from_json(to_json(trace))) == outcome
        later.close()
    assert caught.value.trace is not None
    assert caught.value.said == "Invalid prompt: Dear diary, where is Lagos?", "the caller may read it"
    kept = [without_text(caught.value.trace), without_text(trace)]
    assert not any(b"diary" in to_json(record) for record in kept)
    assert not any("diary" in str(explanation(record)) for record in (caught.value.trace, trace))
    assert kept[0].error == "upstream 'small': refused with status 400"
    assert outcome.decision.detail == "escalate: upstream 'large': refused with status 400"
    missing = {reading.missing for reading in outcome.steps[0].signals.readings}
    assert "no sample could be drawn: upstream 'small': refused with status 400" in missing
    assert b"Invalid prompt" in to_json(trace), "with text, it is all there"


def test_a_trace_replays_with_no_calls_also_after_a_round_trip_through_json(tmp_path: Path) -> None:
    small = Scripted("small", doubtful)
    mine = gateway(tmp_path, small, passages=True)
    outcome, trace = mine.ask(ASKED)
    calls = len(small.asked)
    assert calls == 4
    assert mine.replay(trace) == outcome
    assert mine.replay(from_json(to_json(trace))) == outcome
    assert len(small.asked) == calls
    mine.close()


def test_what_a_trace_does_not_hold_cannot_be_replayed(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    trace = mine.ask(ASKED)[1]
    with pytest.raises(ReplayGap, match="without text"):
        mine.replay(without_text(trace))
    with pytest.raises(ReplayGap, match="no reply"):
        mine.replay(dataclasses.replace(trace, tape=trace.tape[:1]))
    mine.close()


@pytest.mark.parametrize(
    ("ours", "theirs", "calls"),
    [
        (Budget(), None, 4),
        (Budget(), Budget(calls=3), 2),
        (Budget(calls=3), None, 2),
        (Budget(calls=3), Budget(calls=100), 2),
        (Budget(calls=100), Budget(calls=3), 2),
        (Budget(calls=100), Budget(money=0.00002), 1),
        (Budget(money=0.00002), Budget(calls=100), 1),
        (Budget(tokens=20), Budget(), 1),
        (Budget(tokens=10), Budget(), 0),
    ],
    ids=str,
)
def test_a_callers_budget_tightens_and_never_loosens(
    ours: Budget, theirs: Budget | None, calls: int, tmp_path: Path
) -> None:
    small = Scripted("small", lambda e, i: str(i))
    mine = gateway(tmp_path, small, passages=True, answer_at=0.99, budget=ours)
    outcome, _ = mine.ask(ASKED, budget=theirs)
    assert len(small.asked) == outcome.cost.calls == calls
    assert outcome.decision.reason == ("budget_spent" if calls < 4 else "uncertain")
    mine.close()


@pytest.mark.parametrize("on_void", ["serve", "abstain"])
@pytest.mark.parametrize(
    ("running", "void"),
    [
        (RUNNING, ()),
        (RUNNING | {"policy": "abd"}, ("policy is not what was certified",)),
        ({"policy": "abc"}, ("upstream:small is not what was certified",)),
        (RUNNING | {"retriever": "new"}, ("retriever is not what was certified",)),
    ],
    ids=["holds", "changed", "gone", "added"],
)
def test_a_certificate_holds_for_exactly_what_runs_and_void_the_policy_says_what_then(
    running: dict[str, str], void: tuple[str, ...], on_void: str, tmp_path: Path
) -> None:
    more = f"{CERTIFICATE}on_void: {on_void}\n"
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), more, running=running)
    outcome, trace = mine.ask(ASKED)
    assert mine.void == void
    assert mine.certified == trace.certified == (not void)
    if void and on_void == "abstain":
        assert (outcome.text, outcome.decision.reason) == ("I do not know.", "certificate_void")
        assert mine.replay(trace) == outcome
    else:
        assert (outcome.text, outcome.decision.reason) == ("Nigeria", "confident")
    mine.close()


def test_what_is_only_recorded_is_decided_though_the_certificate_is_void(tmp_path: Path) -> None:
    mine = gateway(
        tmp_path, Scripted("small", always("Nigeria")), f"{CERTIFICATE}on_void: abstain\n", running={"policy": "new"}
    )

    async def main() -> tuple[Outcome, TraceRecord]:
        try:
            return await mine.aask(ASKED, observing=True)
        finally:
            await mine.aclose()

    outcome, trace = asyncio.run(main())
    assert (outcome.text, outcome.decision.reason, trace.certified) == ("Nigeria", "confident", False)
    assert aask(mine)[0].decision.reason == "certificate_void"


class Foreign(BaseModel, frozen=True):
    """Evidence that shows another model than the one that was certified, from the second question on."""

    name: ClassVar[str] = "foreign"
    provides: ClassVar[type[Fact]] = Fact
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    uses: ClassVar[Uses] = Uses()
    _asked: list[str] = PrivateAttr(default_factory=list)

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        self._asked.append(round_.question.text)
        raise EvidenceUnavailable("another model answers", voids=len(self._asked) > 1)
        yield


@pytest.mark.parametrize("on_void", ["serve", "abstain"])
@pytest.mark.parametrize("certified", [True, False])
def test_what_the_facts_show_voids_a_certificate_for_the_answer_it_was_seen_in(
    on_void: str, certified: bool, tmp_path: Path
) -> None:
    more = f"{CERTIFICATE if certified else ''}on_void: {on_void}\n"
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), more)
    tiers = ((DraftSource(), Foreign(), SamplesSource(n=5), MeaningsSource()),)
    strict = certified and on_void == "abstain"
    mine.plan = dataclasses.replace(mine.plan, tiers=tiers, abstain_when_void=strict)
    (first, trace), (second, later) = mine.ask(ASKED), mine.ask(ASKED)
    assert (first.text, trace.certified, first.void) == ("Nigeria", certified, ())
    assert (later.certified, second.void) == (False, ("another model answers",))
    assert mine.certified is certified  # nothing that was loaded is another
    assert mine.seen_void == ("another model answers",)
    assert second.answered is not strict
    if strict:
        assert (second.decision.reason, second.decision.detail) == ("certificate_void", "another model answers")
    mine.close()


def test_without_a_certificate_nothing_is_void_and_nothing_certified(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), "on_void: abstain\n")
    assert (mine.certificate, mine.void, mine.certified) == (None, (), False)
    assert mine.ask(ASKED)[0].answered
    mine.close()


def test_many_threads_and_loops_share_a_gateway_and_no_question_gets_anothers_answer(tmp_path: Path) -> None:
    echo = Scripted("small", lambda effect, place: effect.messages[-1].content, seconds=0.01)
    mine, said = gateway(tmp_path, echo), {}

    def work(number: int) -> None:
        question = Question.from_text(f"question {number}")
        outcome, trace = mine.ask(question) if number % 2 else aask(mine, question)
        said[number] = (outcome.text, trace.question, len(trace.tape))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mine.close()
    assert said == {n: (f"question {n}", Question.from_text(f"question {n}"), 2) for n in range(16)}


def test_loops_that_ended_without_closing_are_forgotten(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    outcomes = [asyncio.run(mine.aask(ASKED))[0] for _ in range(3)]
    assert [outcome.text for outcome in outcomes] == ["Nigeria"] * 3
    assert len(mine._here().on_loops) == 1


def test_many_questions_at_once_on_one_loop(tmp_path: Path) -> None:
    echo = Scripted("small", lambda effect, place: effect.messages[-1].content, seconds=0.01)
    mine = gateway(tmp_path, echo)

    async def main() -> list[str]:
        questions = [Question.from_text(f"question {number}") for number in range(8)]
        answers = await asyncio.gather(*(mine.aask(question) for question in questions))
        await mine.aclose()
        return [outcome.text for outcome, _ in answers]

    assert asyncio.run(main()) == [f"question {number}" for number in range(8)]


def test_closing_twice_does_nothing_and_a_closed_gateway_can_be_used_again(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    mine.close()
    for _ in range(2):
        assert mine.ask(ASKED)[0].text == aask(mine)[0].text == "Nigeria"
        mine.close()
        mine.close()

    async def close_and_ask_again() -> str:
        await mine.aclose()
        await mine.aask(ASKED)
        await mine.aclose()
        await mine.aclose()
        outcome, _ = await mine.aask(ASKED)
        await mine.aclose()
        return outcome.text

    assert asyncio.run(close_and_ask_again()) == "Nigeria"


async def _completed() -> tuple[Gateway, TraceRecord, TraceRecord]:
    gateway = gate.load_gateway("balanced")
    _, record = await gateway.aask(Question.from_text("Where is Paris?"))
    try:
        return gateway, record, await gateway.acomplete(record)
    finally:
        await gateway.aclose()


def test_a_completed_record_can_be_judged_under_a_stricter_rule_and_nothing_was_asked_twice() -> None:
    gateway, record, completed = asyncio.run(_completed())
    stricter = dataclasses.replace(gateway, plan=dataclasses.replace(gateway.plan, rule=ThresholdRule(answer_at=1.0)))
    with pytest.raises(ReplayGap):
        stricter.replay(record)
    assert stricter.replay(completed).action is Action.ABSTAIN
    assert gateway.replay(completed).text == gateway.replay(record).text
    assert completed.tape[: len(record.tape)] == record.tape
    asked = [entry.key for entry in completed.tape if entry.kind == "generate"]
    assert len(asked) == len(set(asked)) > len(record.tape)
    assert (completed.outcome, completed.cost) == (record.outcome, record.cost)


def test_a_record_without_text_cannot_be_completed() -> None:
    gateway, record, _ = asyncio.run(_completed())
    with pytest.raises(ReplayGap, match="without text"):
        asyncio.run(gateway.acomplete(without_text(record)))


# --- watching drafts ---------------------------------------------------------------------------------------------


class Watcher:
    """Notes what drafts say, and stops those that say a word."""

    def __init__(self, stop_at: str = "never") -> None:
        self.stop_at, self.begun_by, self.said, self.drafts = stop_at, list[str](), list[str](), list[Generation]()

    def begun(self, round_key: str) -> None:
        self.begun_by.append(round_key)

    def grew(self, text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        self.said.append(text)
        return self.stop_at not in text

    def done(self, draft: Generation) -> None:
        self.drafts.append(draft)


def ask_watched(mine: Gateway, watcher: Watcher | None, *, threaded: bool) -> tuple[Outcome, TraceRecord]:
    if threaded:
        return mine.ask(ASKED, recording=Recording(live=watcher))

    async def main() -> tuple[Outcome, TraceRecord]:
        try:
            return await mine.aask(ASKED, recording=Recording(live=watcher))
        finally:
            await mine.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
def test_every_draft_is_watched_and_no_sample(threaded: bool, tmp_path: Path) -> None:
    watcher, mine = Watcher(), gateway(tmp_path, Scripted("small", doubtful), passages=True)
    outcome, _ = ask_watched(mine, watcher, threaded=threaded)
    assert untimed(outcome) == untimed(ask_watched(mine, None, threaded=threaded)[0])
    assert (watcher.begun_by, watcher.said) == (["small/closed_book", "small/with_passages"], ["Ghana", "Nigeria"])
    assert [draft.text for draft in watcher.drafts] == ["Ghana", "Nigeria"]
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
def test_a_stopped_draft_is_no_answer_and_is_replayed_as_stopped(threaded: bool, tmp_path: Path) -> None:
    watcher, mine = Watcher(stop_at="Ghana"), gateway(tmp_path, Scripted("small", always("Ghana")))
    outcome, trace = ask_watched(mine, watcher, threaded=threaded)
    assert (outcome.action, outcome.decision.reason) == (Action.ABSTAIN, "cut_short")
    assert [draft.finish_reason for draft in watcher.drafts] == [STOPPED_EARLY]
    assert outcome.cost.calls == 1, "nothing more is bought for it"
    assert mine.replay(from_json(to_json(trace))) == outcome
    mine.close()


# --- judging answers that are brought along ----------------------------------------------------------------------

NIGERIA = Generation("Nigeria")
SAME = (NIGERIA,) * 5
MIXED = tuple(Generation(text) for text in ("Nigeria", "Ghana", "Togo", "Benin", "Mali"))
BOTH = "{small: {kind: scripted}, large: {kind: scripted}}"
LADDER = POLICY.replace("{small: {kind: scripted}}", BOTH).replace("[small]", "[small, large]")


def laddered(folder: Path, small: Scripted, large: Scripted, more: str = "", **plan: Any) -> Gateway:
    path = folder / "mine.yaml"
    path.write_text(LADDER + more, encoding="utf-8")
    upstreams = {"small": small, "large": large}
    return Gateway(read(path).policy, plan_over(upstreams, **plan), world_of(upstreams), RUNNING)


def judged(mine: Gateway, given: Given, *, threaded: bool = True, **how: Any) -> tuple[Outcome, TraceRecord]:
    if threaded:
        return mine.judge(ASKED, given, **how)

    async def main() -> tuple[Outcome, TraceRecord]:
        try:
            return await mine.ajudge(ASKED, given, **how)
        finally:
            await mine.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("threaded", [True, False], ids=["judge", "ajudge"])
@pytest.mark.parametrize(
    ("samples", "action", "reason"),
    [
        (SAME, Action.ANSWER, "confident"),
        (MIXED, Action.ABSTAIN, "uncertain"),
        ((), Action.ABSTAIN, "uncertain"),
        (SAME[:2], Action.ABSTAIN, "uncertain"),
    ],
    ids=["agree", "differ", "none", "too few"],
)
def test_what_is_given_is_judged_and_nobody_is_asked_anything(
    samples: tuple[Generation, ...], action: Action, reason: str, threaded: bool, tmp_path: Path
) -> None:
    small, large = Scripted("small", always("asked")), Scripted("large", always("asked"))
    mine = laddered(tmp_path, small, large, passages=True)
    outcome, trace = judged(mine, Given(NIGERIA, samples=samples), threaded=threaded)
    assert (outcome.action, outcome.decision.reason) == (action, reason)
    assert outcome.generation is (NIGERIA if outcome.answered else None)
    assert outcome.withheld is (None if outcome.answered else NIGERIA)
    assert (small.asked, large.asked, outcome.cost.calls) == ([], [], 0)
    assert (trace.question, trace.outcome, trace.action) == (ASKED, outcome, action)
    assert mine.replay(trace) == mine.replay(from_json(to_json(trace))) == outcome
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["judge", "ajudge"])
def test_where_it_may_gather_all_that_ask_does_may_be_done_about_it(threaded: bool, tmp_path: Path) -> None:
    small, large = Scripted("small", lambda e, i: "abcdefgh"[i]), Scripted("large", always("Lagos is in Nigeria"))
    mine = laddered(tmp_path, small, large, passages=True)
    outcome, trace = judged(mine, Given(NIGERIA, gather=True), threaded=threaded)
    assert (outcome.text, outcome.upstream) == ("Lagos is in Nigeria", "large")
    actions = [step.decision.action for step in outcome.steps]
    assert actions == [Action.RETRIEVE, Action.ESCALATE, Action.ANSWER], "as when asked"
    assert all(effect.temperature == 1.0 for effect in small.asked[:1]), "its draft was here already"
    calls = len(small.asked), len(large.asked)
    assert mine.replay(trace) == outcome
    assert calls == (len(small.asked), len(large.asked))
    mine.close()


def test_given_samples_go_before_those_that_are_asked_for(tmp_path: Path) -> None:
    small = Scripted("small", always("Nigeria"))
    mine = gateway(tmp_path, small)
    outcome, trace = mine.judge(ASKED, Given(NIGERIA, samples=SAME[:2], gather=True))
    assert outcome.answered
    assert [effect.n for effect in small.asked] == [1, 1, 1], "two of five were there"
    assert mine.replay(trace) == outcome
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["judge", "ajudge"])
def test_more_is_got_by_code_of_the_callers_at_the_price_of_who_it_stands_for(threaded: bool, tmp_path: Path) -> None:
    small, asked = Scripted("small", always("asked")), list[Generate]()

    def ask(effect: Generate) -> Generations:
        asked.append(effect)
        return Generations((NIGERIA,) * effect.n, Usage(1000, 10 * effect.n))

    async def aask(effect: Generate) -> Generations:
        return ask(effect)

    mine = gateway(tmp_path, small)
    given = Given(NIGERIA, more=More(ask if threaded else aask, Profile(n=5)))
    outcome, trace = judged(mine, given, threaded=threaded)
    assert (outcome.answered, [effect.n for effect in asked], small.asked) == (True, [5], [])
    assert (outcome.cost.calls, outcome.cost.prompt_tokens) == (1, 1000)
    assert outcome.cost.money == pytest.approx((1000 * 1.0 + 50 * 2.0) / 1e6)
    assert mine.replay(from_json(to_json(trace))) == outcome
    assert len(asked) == 1
    mine.close()


def test_a_name_that_is_not_in_the_ladder_is_refused(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    with pytest.raises(UnknownName, match=r"unknown upstream in the ladder 'smal'; did you mean 'small'\?"):
        mine.judge(ASKED, Given(NIGERIA, upstream="smal"))
    mine.close()


@pytest.mark.parametrize(("kind", "identity"), [("scripted", "scripted"), ("caller", "caller:model-1")])
@pytest.mark.parametrize("vouched", [True, False])
@pytest.mark.parametrize("running", ["as certified", "other"])
def test_a_certificate_holds_where_it_is_known_who_wrote_the_answer(
    kind: str, identity: str, vouched: bool, running: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    caller = "kind: caller, identity: model-1" if kind == "caller" else f"kind: {kind}"
    text = (POLICY + CERTIFICATE).replace("kind: scripted", caller).replace("scripted}}", f'"{identity}"}}}}')
    path.write_text(text, encoding="utf-8")
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    runs = {"policy": "abc", "upstream:small": identity if running == "as certified" else "caller:model-2"}
    mine = Gateway(read(path).policy, plan_over(upstreams), world_of(upstreams), runs)
    samples = SAME if kind == "caller" else ()
    outcome, trace = mine.judge(
        ASKED, Given(NIGERIA, samples=samples, gather=True, upstream="small" if vouched else "")
    )
    known = vouched or kind == "caller"
    assert outcome.answered
    assert outcome.void == (() if known else (FOREIGN,))
    assert trace.certified is (known and running == "as certified")
    assert mine.seen_void == (), "that somebody else brings an answer says nothing of what runs"
    mine.close()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Given(NIGERIA, gather=True), (FOREIGN,)),
        (Given(NIGERIA, upstream="small", gather=True), ()),
        (Given(NIGERIA, upstream="small"), (JUDGED_ALONE,)),
        (Given(NIGERIA, upstream="small", gather=True, samples=SAME), (OTHER_EVIDENCE,)),
        (Given(NIGERIA, upstream="small", passages=(Passage("1", "Lagos"),)), (JUDGED_ALONE, OTHER_EVIDENCE)),
    ],
)
def test_a_policy_of_models_vouches_only_for_what_it_was_carried_out_on_in_full(
    given: Given, why: tuple[str, ...], tmp_path: Path
) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), CERTIFICATE)
    outcome, trace = mine.judge(ASKED, given)
    assert outcome.void == why
    assert trace.certified is (not why)
    assert mine.replay(trace) == outcome
    mine.close()


@pytest.mark.parametrize("given", [Given(NIGERIA, samples=SAME[:2]), Given(NIGERIA)])
def test_a_policy_of_callers_vouches_only_where_as_many_samples_were_drawn_as_it_draws(
    given: Given, tmp_path: Path
) -> None:
    caller = (POLICY + CERTIFICATE).replace("kind: scripted", "kind: caller, identity: model-1")
    path = tmp_path / "mine.yaml"
    path.write_text(caller, encoding="utf-8")
    small = Scripted("small", always("asked"))
    mine = Gateway(read(path).policy, plan_over({"small": small}), world_of({"small": small}), {})
    assert mine.judge(ASKED, given)[0].void == (NO_SAMPLES,)
    assert mine.judge(ASKED, dataclasses.replace(given, samples=SAME))[0].void == ()
    assert small.asked == []
    mine.close()


def test_it_is_said_once_where_nothing_will_ever_be_let_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = gateway(tmp_path, Scripted("small", always("asked")), f"{CERTIFICATE}on_void: abstain\n")
    mine.plan = dataclasses.replace(mine.plan, abstain_when_void=True)
    for _ in range(3):
        mine.judge(ASKED, Given(NIGERIA, samples=SAME))
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the policy 'mine' lets none of these answers through"
    ]
    mine.close()


def test_all_evidence_is_gathered_before_an_answer_is_abstained_from_and_none_once_it_is_sure(tmp_path: Path) -> None:
    asked = list[Generate]()

    def ask(effect: Generate) -> Generations:
        asked.append(effect)
        return Generations((NIGERIA,) * effect.n)

    mine = gateway(tmp_path, Scripted("small", always("asked")))
    draft, sampled = DraftSource(), (SamplesSource(n=5, seed=1), MeaningsSource())
    mine.plan = dataclasses.replace(mine.plan, tiers=((draft,), sampled))
    outcome, trace = mine.judge(ASKED, Given(NIGERIA, more=More(ask, Profile(n=5))))
    assert [step.decision.action for step in outcome.steps] == [Action.GATHER, Action.ANSWER]
    assert len(asked) == 1
    assert mine.replay(trace) == outcome
    mine.close()


def test_a_policy_that_abstains_when_void_lets_no_foreign_answer_through(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), f"{CERTIFICATE}on_void: abstain\n")
    mine.plan = dataclasses.replace(mine.plan, abstain_when_void=True)
    foreign, trace = mine.judge(ASKED, Given(NIGERIA, samples=SAME))
    known, _ = mine.judge(ASKED, Given(NIGERIA, gather=True, upstream="small"))
    assert (foreign.decision.reason, foreign.decision.detail) == ("certificate_void", FOREIGN)
    assert known.answered
    assert mine.replay(trace) == foreign
    mine.close()


def test_where_the_certificate_is_void_nothing_brought_is_looked_at_either(tmp_path: Path) -> None:
    mine = gateway(
        tmp_path, Scripted("small", always("x")), f"{CERTIFICATE}on_void: abstain\n", running={"policy": "new"}
    )
    outcome, trace = mine.judge(ASKED, Given(NIGERIA, samples=SAME))
    assert (outcome.decision.reason, trace.tape) == ("certificate_void", ())
    assert mine.replay(trace) == outcome
    mine.close()


@pytest.mark.parametrize(("passages", "stage"), [(True, "with_passages"), (False, "closed_book")])
def test_an_answer_written_from_passages_is_judged_as_one_where_the_policy_knows_of_such(
    passages: bool, stage: str, tmp_path: Path
) -> None:
    mine = gateway(tmp_path, Scripted("small", always("asked")), passages=passages)
    given = Given(NIGERIA, samples=SAME, passages=(Passage("1", "Lagos is in Nigeria."),))
    outcome, trace = mine.judge(ASKED, given)
    assert outcome.decision.stage.key == f"small/{stage}/tier0"
    assert outcome.passages == (given.passages if passages else ())
    assert mine.replay(from_json(to_json(trace))) == outcome
    assert trace.brought is not None
    kept = without_text(trace)
    assert kept.brought == dataclasses.replace(trace.brought, passages=())
    assert b"Lagos" not in to_json(kept)
    mine.close()


def test_what_is_here_already_needs_no_room_in_a_budget_and_what_is_asked_does(tmp_path: Path) -> None:
    long = Question.from_text("Where is Lagos? " * 500)
    small = Scripted("small", always("Nigeria"))
    mine = gateway(tmp_path, small, budget=Budget(tokens=100, calls=9))
    outcome, trace = mine.judge(long, Given(NIGERIA, samples=SAME), budget=Budget(fan_out=2))
    assert outcome.answered
    assert mine.replay(trace) == outcome
    bought, _ = mine.judge(long, Given(NIGERIA, samples=SAME[:1], gather=True))
    assert (bought.answered, small.asked) == (False, [])
    assert bought.decision.reason == "budget_spent"
    mine.close()


def test_what_getting_an_answer_cost_counts_and_a_callers_budget_tightens(tmp_path: Path) -> None:
    small = Scripted("small", always("Nigeria"))
    mine = gateway(tmp_path, small)
    paid = Cost(1, 900, 10, 0.5, 0.02)
    outcome, trace = mine.judge(ASKED, Given(NIGERIA, paid, gather=True), budget=Budget(money=0.01))
    assert (outcome.decision.reason, small.asked) == ("uncertain", []), "nothing is left for samples"
    assert outcome.cost == paid
    assert mine.replay(trace) == outcome
    mine.close()


def test_a_trace_of_an_answer_for_an_upstream_that_a_policy_does_not_know_is_not_replayed(tmp_path: Path) -> None:
    mine = laddered(tmp_path, Scripted("small", always("a")), Scripted("large", always("b")))
    _, trace = mine.judge(ASKED, Given(NIGERIA, samples=SAME, upstream="large"))
    assert trace.steps[-1].decision.stage.upstream == "large"
    with pytest.raises(ReplayGap, match="stood for the upstream 'large'"):
        gateway(tmp_path, Scripted("small", always("a"))).replay(trace)
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["judge", "ajudge"])
def test_a_fault_while_judging_carries_the_trace(threaded: bool, tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    mine.plan = dataclasses.replace(mine.plan, signals=(BrokenSignal(),))
    with pytest.raises(RuntimeError) as caught:
        judged(mine, Given(NIGERIA, samples=SAME), threaded=threaded)
    trace = trace_of(caught.value)
    assert trace is not None
    assert (trace.error, len(trace.tape)) == ("unexpected RuntimeError", 2)
    mine.close()


# --- forked processes --------------------------------------------------------------------------------------------


def in_a_fork(work: Callable[[], object]) -> bool:
    """Whether it comes to something true in a forked process, within ten seconds."""
    forking = multiprocessing.get_context("fork")
    says: Any = forking.SimpleQueue()
    child = forking.Process(target=lambda: says.put(bool(work())))
    child.start()
    child.join(10)
    ended = child.exitcode == 0
    child.kill()
    return ended and says.get()


def test_a_forked_process_opens_its_own_whatever_was_open_or_locked_before(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria")) as server:
        mine = over_servers(tmp_path, server.url)
        assert mine.ask(ASKED)[0].answered, "there is a loop behind, with a connection"
        with mine._here().lock:  # as another thread would hold it
            assert in_a_fork(lambda: mine.ask(ASKED)[0].answered and aask(mine)[0].answered)
        assert mine.ask(ASKED)[0].answered
        mine.close()


# --- answers that are brought along ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gather", "action", "text", "calls"),
    [
        (False, Action.ABSTAIN, "I do not know.", {"small": 0, "large": 0}),
        ("evidence", Action.ABSTAIN, "I do not know.", {"small": 1, "large": 0}),
        (True, Action.ANSWER, "Nigeria", {"small": 1, "large": 2}),
    ],
)
def test_whom_it_asks_about_an_answer_is_the_callers_choice(
    gather: Any, action: Action, text: str, calls: dict[str, int], tmp_path: Path
) -> None:
    """Nobody; the model that it stands for, to bear it out; or also who else could answer."""
    upstreams = {"small": Scripted("small", doubtful), "large": Scripted("large", always("Nigeria"))}
    path = tmp_path / "mine.yaml"
    small_and_large = POLICY.replace("{kind: scripted}}", "{kind: scripted}, large: {kind: scripted}}")
    path.write_text(small_and_large.replace("[small]", "[small, large]"), encoding="utf-8")
    mine = Gateway(read(path).policy, plan_over(upstreams), world_of(upstreams), RUNNING)
    outcome, _ = mine.judge(ASKED, Given(Generation("Ghana"), gather=gather))
    assert (outcome.action, outcome.text) == (action, text)
    assert {name: len(upstream.asked) for name, upstream in upstreams.items()} == calls
    mine.close()


def test_one_that_the_models_samples_bear_out_is_let_through(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")))
    outcome, _ = mine.judge(ASKED, Given(Generation("Nigeria"), gather="evidence"))
    assert (outcome.action, outcome.text) == (Action.ANSWER, "Nigeria")
    mine.close()


def test_where_it_is_only_observed_a_void_certificate_keeps_nothing_from_being_judged(tmp_path: Path) -> None:
    void = CERTIFICATE.replace("policy: abc", "policy: other") + "on_void: abstain\n"
    mine = gateway(tmp_path, Scripted("small", always("Nigeria")), void)

    async def judged(*, observing: bool) -> Outcome:
        given = Given(Generation("Nigeria"), gather="evidence", upstream="small")
        outcome, _ = await mine.ajudge(ASKED, given, observing=observing)
        return outcome

    async def main() -> tuple[Outcome, Outcome]:
        both = await judged(observing=False), await judged(observing=True)
        await mine.aclose()
        return both

    enforced, observed = asyncio.run(main())
    assert (enforced.action, enforced.decision.reason) == (Action.ABSTAIN, "certificate_void")
    assert observed.action is Action.ANSWER


# --- the model behind a name -------------------------------------------------------------------------------------


class Swapped(Scripted):
    """Says that it is another model from the second question on."""

    def complete(self, effect: Generate, cancelled: Any) -> Generations:
        reply = super().complete(effect, cancelled)
        draft = effect.temperature == 0
        self.questions = getattr(self, "questions", 0) + draft
        return dataclasses.replace(reply, model="m-1" if self.questions == 1 else "m-2")


OTHER = "the upstream 'small' says it is 'm-2', and was 'm-1'"


@pytest.mark.parametrize("threaded", [True, False], ids=["ask", "aask"])
@pytest.mark.parametrize("on_void", ["serve", "abstain"])
def test_a_model_that_is_swapped_voids_the_certificate_from_then_on(
    on_void: str, threaded: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = gateway(tmp_path, Swapped("small", always("Nigeria")), f"{CERTIFICATE}on_void: {on_void}\n")
    mine.plan = dataclasses.replace(mine.plan, abstain_when_void=on_void == "abstain")
    (first, one), (second, two), (third, three) = [mine.ask(ASKED) if threaded else aask(mine) for _ in range(3)]
    assert (first.text, first.void, one.certified) == ("Nigeria", (), True)
    assert (second.void, two.certified, three.certified) == ((OTHER,), False, False)
    assert (mine.void, mine.seen_void, mine.certified) == ((OTHER,), (OTHER,), False)
    abstains = on_void == "abstain"
    assert [outcome.decision.reason for outcome in (second, third)] == [
        "certificate_void" if abstains else "confident"
    ] * 2
    assert mine.replay(two) == (second if not abstains else third)
    if not abstains:
        assert mine.replay(one) == first, "an older trace is judged by the name that counts"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"a model of the policy 'mine' was changed: its certificate is void ({OTHER})"
    assert mine.models.others == {"small": 2 if abstains else 4}, "the draft and the samples of each that was asked"
    mine.close()


def test_without_a_certificate_a_swapped_model_is_seen_and_voids_nothing(tmp_path: Path) -> None:
    mine = gateway(tmp_path, Swapped("small", always("Nigeria")))
    outcomes = [mine.ask(ASKED)[0] for _ in range(2)]
    assert [outcome.text for outcome in outcomes] == ["Nigeria"] * 2
    assert (mine.void, mine.seen_void) == ((), (OTHER,))
    mine.close()


def test_the_name_that_the_certificate_remembers_outlives_a_restart(tmp_path: Path) -> None:
    more = CERTIFICATE.replace("segment: all", "models: {small: m-0}, segment: all")
    mine = gateway(tmp_path, Swapped("small", always("Nigeria")), more)
    assert mine.certificate is not None
    assert mine.certificate.models == {"small": "m-0"}
    _, trace = mine.ask(ASKED)
    assert (trace.certified, mine.void) == (False, ("the upstream 'small' says it is 'm-1', and was 'm-0'",))
    mine.close()


@pytest.mark.parametrize("threaded", [True, False], ids=["judge", "ajudge"])
def test_a_swapped_model_is_heard_where_it_is_asked_about_an_answer_that_was_brought_along(
    threaded: bool, tmp_path: Path
) -> None:
    more = CERTIFICATE.replace("segment: all", "models: {small: m-0}, segment: all")
    mine = gateway(tmp_path, Swapped("small", always("Nigeria")), more)
    given = Given(NIGERIA, gather=True, upstream="small", model="m-7")

    async def ajudged() -> tuple[Outcome, TraceRecord]:
        judged = await mine.ajudge(ASKED, given)
        await mine.aclose()
        return judged

    outcome, trace = mine.judge(ASKED, given) if threaded else asyncio.run(ajudged())
    reason = "the upstream 'small' says it is 'm-2', and was 'm-0'"
    assert (outcome.void, trace.certified, mine.void) == ((reason,), False, (reason,))
    assert mine.replay(trace) == outcome
    mine.close()


def test_the_name_by_which_a_callers_own_code_answers_says_nothing_of_the_upstream_it_stands_for(
    tmp_path: Path,
) -> None:
    more = CERTIFICATE.replace("segment: all", "models: {small: m-0}, segment: all")
    mine = gateway(tmp_path, Scripted("small", always("asked")), more)

    def ask(effect: Generate) -> Generations:
        return Generations((NIGERIA,) * effect.n, model="m-7")

    given = Given(NIGERIA, gather=True, upstream="small", more=More(ask, Profile(n=5)), model="m-7")
    outcome, trace = mine.judge(ASKED, given)
    assert (mine.models.changed, mine.void) == ({}, ())
    assert not [reason for reason in outcome.void if "m-7" in reason]
    assert mine.replay(trace) == outcome
    mine.close()
