"""A run of an agent: what it spends, when it stops, what it makes once, and that none of it depends on timing."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gate.agents import AgentRun, ToolAction, ToolGate, ToolRefused, ToolVerdict, UnionBound, current_run
from gate.errors import AnswerWithheld, ConfigError
from gate.types import ToolCall
from tests.agents.made import approved, call, gate, sure

PAY = call("pay", "c1", to="ann", amount=10)
LOOK_UP = call("look_up", city="Oslo")
DOUBTED = [call("pay", to="ann", amount=11)] * 6


class Till:
    """A tool that remembers what it was called with."""

    def __init__(self, fails: bool = False) -> None:
        self.paid: list[tuple[str, float]] = []
        self.fails = fails

    def __call__(self, to: str, amount: float) -> str:
        self.paid.append((to, amount))
        if self.fails:
            raise TimeoutError("no answer from the bank")
        return f"paid {amount} to {to}"


def test_each_approved_step_spends_and_the_first_that_is_too_much_stops_the_run() -> None:
    run = AgentRun(gate(), 0.1)
    steps = [run.admit(approved(0.96, city=str(n))) for n in range(4)]
    assert [step.verdict.action.value for step in steps] == ["approve", "approve", "stop", "stop"]
    assert [step.verdict.reason for step in steps] == ["confident", "confident", "risk_spent", "stopped"]
    assert [step.spent for step in steps] == pytest.approx([0.04, 0.04, 0, 0])
    assert run.spent == pytest.approx(0.08)
    assert (run.left, run.stopped) == (0.0, True)
    assert not run.admit(approved(1.0)).verdict.approved, "not even what costs nothing"


def test_a_budget_is_spent_to_its_end() -> None:
    run = AgentRun(gate(), 0.1)
    assert [run.admit(approved(0.98, city=str(n))).verdict.approved for n in range(6)] == [True] * 5 + [False]


def test_what_is_not_approved_spends_nothing() -> None:
    run = AgentRun(gate(), 0.1)
    for action in (ToolAction.REFUSE, ToolAction.ASK, ToolAction.ESCALATE):
        run.admit(replace(approved(0.1), action=action, reason="uncertain"))
    assert (run.spent, run.left, run.stopped, len(run.steps)) == (0.0, 0.1, False, 3)


def test_a_checked_call_is_made_on_its_approval() -> None:
    run, till = AgentRun(gate(), 0.2), Till()
    (verdict,) = run.check(PAY, samples=sure(PAY))
    assert verdict.approved
    spent = run.spent
    assert run.call(till, PAY) == "paid 10 to ann"
    assert run.spent == spent, "it was paid for when it was approved"
    assert [step.came for step in run.steps] == ["done"]


def test_a_call_that_was_not_checked_is_checked_now() -> None:
    run, till = AgentRun(gate(), 0.2), Till()
    assert run.call(till, PAY, samples=sure(PAY)) == "paid 10 to ann"
    refused = run.call(till, call("pay", to="bob", amount=5))
    assert isinstance(refused, ToolRefused)
    assert refused.verdict.action is ToolAction.ASK
    with pytest.raises(AnswerWithheld, match="The call of 'pay' was not made") as caught:
        run.call(till, call("pay", to="bob", amount=-5), raising=True)
    assert caught.value.abstained.verdict.reason == "schema"  # type: ignore[union-attr]
    assert till.paid == [("ann", 10)]


def test_a_verdict_is_made_as_it_was_given_with_all_that_was_read_of_the_reply() -> None:
    asked: list[ToolVerdict] = []
    run, till = AgentRun(gate(), 0.2, ask_person=lambda verdict: not asked.append(verdict)), Till()
    (approved_, doubted) = (
        run.check(PAY, samples=sure(PAY))[0],
        run.check(call("pay", to="bob", amount=10), samples=DOUBTED)[0],
    )
    assert run.call(till, approved_) == "paid 10 to ann"
    assert run.call(till, doubted) == "paid 10 to bob"
    assert asked == [doubted], "the very verdict, samples and all"
    with pytest.raises(ValueError, match="this verdict is none of the run's"):
        run.call(till, gate().check_call(PAY, samples=sure(PAY)))
    with pytest.raises(ValueError, match="the reply holds 2"):
        run.call(till, [PAY, PAY])


def test_a_call_in_doubt_is_not_judged_anew_from_less() -> None:
    run, till = AgentRun(gate(), 0.2), Till()
    run.check(PAY, samples=DOUBTED)
    assert run.call(till, PAY).verdict.reason == "uncertain"
    assert run.call(till, PAY, samples=sure(PAY)) == "paid 10 to ann", "and anew from more"


def test_what_cannot_be_undone_is_never_made_twice() -> None:
    run, till = AgentRun(gate(), 0.5), Till()
    run.call(till, PAY, samples=sure(PAY))
    again = ToolCall("c2", "pay", '{"amount": 10, "to": "ann"}')
    spent = run.spent
    (verdict,) = run.check(again, samples=sure(PAY))
    assert (verdict.action, verdict.reason) == (ToolAction.REFUSE, "already_done")
    assert not run.call(till, again, samples=sure(PAY))
    assert run.spent == spent
    assert till.paid == [("ann", 10)]


def test_nor_when_it_failed_for_it_may_have_happened() -> None:
    run, till = AgentRun(gate(), 0.5), Till(fails=True)
    with pytest.raises(TimeoutError):
        run.call(till, PAY, samples=sure(PAY))
    refused = run.call(till, PAY, samples=sure(PAY))
    assert refused.verdict.reason == "already_done"
    assert till.paid == [("ann", 10)]
    assert [step.came for step in run.steps] == ["failed", ""]


def test_nor_when_a_person_approves_it_again() -> None:
    run, till = AgentRun(gate(), 0.5, ask_person=lambda verdict: True), Till()
    assert run.call(till, PAY, samples=DOUBTED) == "paid 10 to ann"
    assert not run.call(till, PAY, samples=DOUBTED)
    assert till.paid == [("ann", 10)]


def test_asking_about_a_call_again_before_it_is_made_pays_once() -> None:
    run, till = AgentRun(gate(), 0.5), Till()
    first, second = run.check(PAY, samples=sure(PAY)), run.check(PAY, samples=sure(PAY))
    assert first == second
    assert len(run.steps) == 1
    assert run.call(till, PAY)
    assert not run.call(till, PAY, samples=sure(PAY))


def test_what_can_be_undone_may_be_made_again() -> None:
    run = AgentRun(gate(), 0.5)
    assert [run.call(lambda city: city, LOOK_UP, samples=sure(LOOK_UP)) for _ in range(2)] == ["Oslo", "Oslo"]


def test_a_person_decides_where_there_is_doubt_and_no_risk_of_the_gates_is_spent() -> None:
    asked: list[ToolVerdict] = []

    def person(verdict: ToolVerdict) -> bool:
        asked.append(verdict)
        return len(asked) == 1

    run, till = AgentRun(gate(), 0.1, ask_person=person), Till()
    assert run.call(till, PAY, samples=DOUBTED) == "paid 10 to ann"
    refused = run.call(till, call("pay", to="bob", amount=10), samples=DOUBTED)
    assert refused.verdict.reason == "person_refused"
    assert (run.spent, len(asked), asked[0].reason) == (0.0, 2, "uncertain")
    assert [(step.by_person, step.verdict.action.value) for step in run.steps if step.by_person] == [
        (True, "approve"),
        (True, "refuse"),
    ]


def test_a_person_cannot_make_a_stopped_run_go_on() -> None:
    run, till = AgentRun(gate(), 0.1, ask_person=lambda verdict: run.stop() or True), Till()  # type: ignore[func-returns-value]
    refused = run.call(till, PAY, samples=DOUBTED)
    assert refused.verdict.action is ToolAction.STOP
    assert till.paid == []


def test_a_stronger_models_call_takes_the_place_of_one_in_doubt() -> None:
    oslo, lima = call("look_up", city="Oslo"), call("look_up", city="Lima")
    elsewhere = [call("look_up", city="Rome")] * 6

    run = AgentRun(gate(), 0.5, escalate=lambda verdict: gate().check_call(lima, samples=sure(lima)))
    assert run.call(lambda city: city, oslo, samples=elsewhere) == "Lima"
    assert run.spent > 0

    other = AgentRun(gate(), 0.5, escalate=lambda verdict: gate().check_call(PAY, samples=sure(PAY)))
    assert other.call(lambda city: city, oslo, samples=elsewhere).verdict.reason == "other_tool"
    assert AgentRun(gate()).call(lambda city: city, oslo, samples=elsewhere).verdict.action is ToolAction.ESCALATE


def test_on_a_loop_tools_and_people_may_be_coroutines_or_not() -> None:
    till, thread = Till(), threading.get_ident()

    async def person(verdict: ToolVerdict) -> bool:
        return True

    async def pay(to: str, amount: float) -> str:
        return till(to, amount)

    def look_up(city: str) -> bool:
        return threading.get_ident() != thread

    async def main() -> None:
        async with AgentRun(gate(), 0.5, ask_person=person) as run:
            assert current_run() is run
            assert await run.acall(pay, PAY, samples=DOUBTED) == "paid 10 to ann"
            assert not await run.acall(pay, PAY, samples=DOUBTED)
            assert await run.acall(look_up, LOOK_UP, samples=sure(LOOK_UP)), "the loop goes on while it works"
            with pytest.raises(AnswerWithheld):
                await run.acall(pay, call("nothing"), raising=True)
        assert current_run() is None
        async with AgentRun(gate(), 0.5, ask_person=lambda verdict: False) as run:
            refused = await run.acall(pay, call("pay", to="bob", amount=1), samples=DOUBTED)
            assert refused.verdict.reason == "person_refused"

    asyncio.run(main())


def test_a_coroutine_is_not_awaited_where_nothing_can() -> None:
    async def person(verdict: ToolVerdict) -> bool:
        return True

    async def pay(to: str, amount: float) -> None: ...

    with pytest.raises(TypeError, match="ask_person is a coroutine: make the call with acall"):
        AgentRun(gate(), ask_person=person).call(pay, PAY, samples=DOUBTED)
    run = AgentRun(gate(), 0.5)
    with pytest.raises(TypeError, match="the tool is a coroutine"):
        run.call(pay, PAY, samples=sure(PAY))


def test_threads_spend_one_budget_and_make_a_call_once() -> None:
    run, till = AgentRun(gate(), 0.1, ledger=UnionBound()), Till()
    run.check(PAY, samples=sure(PAY))
    before, gathered = run.spent, threading.Barrier(8)

    def work(n: int) -> tuple[Any, int]:
        gathered.wait()
        result = run.call(till, PAY, samples=sure(PAY))
        return result, sum(run.admit(approved(0.999, city=f"{n} {k}")).verdict.approved for k in range(50))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    assert till.paid == [("ann", 10)]
    assert sum(bool(result) for result, _ in results) == 1
    through = sum(n for _, n in results)
    assert run.spent == pytest.approx(before + 0.001 * through)
    assert run.spent <= 0.1 + 1e-9
    assert run.stopped
    assert [step.number for step in run.steps] == list(range(len(run.steps)))


def test_impossible_budgets_are_refused() -> None:
    for risk, confidence in ((0.0, None), (1.5, None), (0.1, 0.4), (0.1, 1.0)):
        with pytest.raises(ConfigError, match="max_risk must be in"):
            AgentRun(gate(), risk, confidence=confidence)


def test_runs_within_runs_come_back_to_the_outer_one() -> None:
    with AgentRun(gate()) as outer:
        with AgentRun(gate()) as inner:
            assert current_run() is inner
        assert current_run() is outer
    assert current_run() is None


def test_one_run_is_entered_by_many_tasks_and_threads() -> None:
    run = AgentRun(gate())

    async def first_in(other_in: asyncio.Event, out: asyncio.Event) -> None:
        async with run:
            await other_in.wait()
            assert current_run() is run
        assert current_run() is None
        out.set()

    async def last_in(entered: asyncio.Event, other_out: asyncio.Event) -> None:
        async with run:
            entered.set()
            await other_out.wait()
            assert current_run() is run
        assert current_run() is None

    async def main() -> None:
        entered, out = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first_in(entered, out))
            tasks.create_task(last_in(entered, out))

    asyncio.run(main())
    inside = threading.Barrier(3)

    def work(_: int) -> bool:
        with run:
            inside.wait()
            within = current_run() is run
            inside.wait()
        return within and current_run() is None

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))


def test_the_same_call_in_other_words_is_not_made_again() -> None:
    def pay(to: str, amount: float, note: str = "") -> str:
        made.append((to, amount, note))
        return "paid"

    made: list[tuple[str, float, str]] = []
    run = AgentRun(gate(), 0.9)
    texts = ('{"to": "ann", "amount": 100}', '{"to": "\\u0061nn", "amount": 1e2}', '{"amount": 100.0, "to": "ann"}')
    for text in (*texts, '{"to": "ann", "amount": 100, "note": ""}'):
        each = ToolCall("c", "pay", text)
        run.call(pay, each, samples=sure(each))
    assert made == [("ann", 100, "")]

    run = AgentRun(gate(), 0.9)
    calls = [call("pay", to="ann", amount=5), call("pay", to="ann", amount=5, note="")]
    verdicts = [run.check(each, samples=sure(each))[0] for each in calls]
    assert all(verdict.approved for verdict in verdicts), "what the function does without a note is not known yet"
    assert [bool(run.call(pay, verdict)) for verdict in verdicts] == [True, False]


def test_defaults_of_the_schema_that_a_request_offers_count_too() -> None:
    schema = {"type": "object", "properties": {"n": {"default": 1}}}
    request = {"tools": [{"type": "function", "function": {"name": "wipe", "parameters": schema}}]}
    made: list[dict[str, Any]] = []
    run = AgentRun(gate(), 0.9, ask_person=lambda verdict: True)
    for each in (call("wipe"), call("wipe", n=1.0), call("wipe", n=2)):
        run.call(lambda **given: not made.append(given), each, question=request)
    assert made == [{}, {"n": 2}]


def test_another_gate_cannot_make_a_tool_harmless() -> None:
    policy = {"tools": {"pay": {"irreversible": True, "on_doubt": "escalate"}, "look": {"irreversible": False}}}
    lax, own = ToolGate({"tools": {"pay": {"irreversible": False}, "look": {"irreversible": False}}}), ToolGate(policy)
    till = Till()

    def stronger(verdict: ToolVerdict) -> ToolVerdict:
        return lax.check(verdict.call, samples=[verdict.call] * 30)[0]

    run = AgentRun(own, 0.5, escalate=stronger)
    assert [run.call(till, PAY).verdict.reason for _ in range(2)] == ["uncalibrated"] * 2
    run = AgentRun(own, 0.5, escalate=stronger, ask_person=lambda verdict: True)
    assert [bool(run.call(till, PAY)) for _ in range(3)] == [True, False, False]
    assert till.paid == [("ann", 10)]

    look = lax.check(made := call("look"), samples=[made] * 98)[0]
    assert run.admit(look).spent == pytest.approx(0.05), "the promise of the policy, and not the guess of 0.01"
    with pytest.raises(TypeError, match="what escalate returns has to be ToolVerdict, not NoneType"):
        AgentRun(own, escalate=lambda verdict: None).call(till, PAY)  # type: ignore[arg-type, return-value]


def test_a_run_that_was_stopped_makes_not_even_what_was_approved() -> None:
    run, till = AgentRun(gate(), 0.5), Till()
    (verdict,) = run.check(PAY, samples=sure(PAY))
    run.stop("by hand")
    refused = run.call(till, verdict)
    assert (refused.verdict.action, refused.verdict.reason) == (ToolAction.STOP, "stopped")

    run = AgentRun(gate(), 0.1)
    (verdict,) = run.check(PAY, samples=sure(PAY))
    assert not run.admit(approved(0.1)).verdict.approved
    assert run.call(Till(), verdict), "it was paid for before the risk was spent"
    step = AgentRun(gate(), 0.1)
    (verdict,) = step.check(PAY, samples=sure(PAY))
    step.admit(approved(0.1))
    step.stop()
    assert not step.call(till, verdict)
    assert till.paid == []


def test_arguments_of_the_wrong_kind_are_named() -> None:
    def refuses(said: str, *given: Any, **named: Any) -> None:
        with pytest.raises(TypeError, match=said):
            AgentRun(*given, **named)

    refuses("^gate has to be ToolGate, not NoneType$", None)
    refuses("^max_risk has to be int or float, not str$", gate(), "much")
    refuses("^confidence has to be", gate(), confidence="high")
    refuses("^ledger has to be UnionBound, ConformalSteps or another Ledger, not str$", gate(), ledger="union")
    refuses("^ask_person has to be a function or None, not str$", gate(), ask_person="me")
    refuses("^escalate has to be a function or None, not bool$", gate(), escalate=True)
    refuses("^goes_on has to be RunRecord or None, not str$", gate(), goes_on="{}")


def test_what_a_tool_raises_passes_through_whatever_it_is() -> None:
    def ends(**_: Any) -> None:
        next(iter(()))

    run = AgentRun(gate(), 0.5)
    with pytest.raises(StopIteration):
        run.call(ends, PAY, samples=sure(PAY))
    assert run.steps[-1].came == "failed"
