"""Tools as functions that run only when approved, as a framework calls them."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from gate.agents import AgentRun, ToolRefused, current_run, guarded_tool
from gate.errors import AnswerWithheld, ConfigError
from tests.agents.made import POLICY, call, gate, sure

PAY = call("pay", to="ann", amount=10)
paid: list[tuple[Any, ...]] = []


@gate().tool(name="pay", leave_out=["context"])
def pay_someone(to: str, amount: float, note: str = "", context: object = None) -> str:
    """Pays."""
    paid.append((to, amount, note, context))
    return f"paid {amount}"


@gate().tool
async def look_up(city: str) -> str:
    return f"{city} is a city"


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    paid.clear()


def test_a_function_keeps_its_name_and_runs_on_an_approval_and_once() -> None:
    assert (pay_someone.__name__, pay_someone.__doc__) == ("pay_someone", "Pays.")
    context = object()
    with AgentRun(gate(), 0.5) as run:
        run.check(PAY, samples=sure(PAY))
        assert pay_someone("ann", amount=10, context=context) == "paid 10"
        with pytest.raises(AnswerWithheld, match="it was made before, and it cannot be undone"):
            pay_someone("ann", 10)
    assert paid == [("ann", 10, "", context)]


def test_a_run_that_calls_a_guarded_tool_asks_once() -> None:
    run = AgentRun(gate(), 0.5)
    assert run.call(pay_someone, PAY, samples=sure(PAY)) == "paid 10"
    made = call("look_up", city="Oslo")
    assert asyncio.run(run.acall(look_up, made, samples=sure(made))) == "Oslo is a city"
    assert [step.came for step in run.steps] == ["done", "done"]


def test_an_approval_is_of_these_arguments_and_no_others() -> None:
    with AgentRun(gate(), 0.5) as run:
        run.check(PAY, samples=sure(PAY))
        with pytest.raises(AnswerWithheld):
            pay_someone("ann", 11)
        with pytest.raises(AnswerWithheld):
            pay_someone("ann", 10, note="another")
        assert pay_someone("ann", 10, note="") == "paid 10", "what is the default anyway was approved"
    assert len(paid) == 1


def test_what_was_not_checked_is_asked_about() -> None:
    with AgentRun(gate(), 0.5, ask_person=lambda verdict: True) as run:
        assert pay_someone("bob", 3) == "paid 3"
        assert run.spent == 0.0


def test_async_tools_run_the_same_way() -> None:
    async def main() -> str:
        made = call("look_up", city="Oslo")
        async with AgentRun(gate(), 0.5) as run:
            with pytest.raises(AnswerWithheld):
                await look_up("Oslo")
            run.check(made, samples=sure(made))
            return await look_up(city="Oslo")

    assert asyncio.run(main()) == "Oslo is a city"


def test_a_stronger_models_arguments_are_passed_on_with_what_is_no_part_of_the_call() -> None:
    lima = call("look_up", city="Lima")
    seen: list[tuple[str, object]] = []
    run = AgentRun(gate(), 0.5, escalate=lambda verdict: gate().check_call(lima, samples=sure(lima)))

    @guarded_tool(gate=gate(), name="look_up", run=run, leave_out=["context"])
    def here(city: str, context: object) -> None:
        seen.append((city, context))

    @guarded_tool(gate=gate(), name="look_up", run=run, leave_out=["context"])
    async def there(city: str, context: object) -> None:
        seen.append((city, context))

    here("Oslo", "kept")
    asyncio.run(there("Oslo", "kept"))
    assert seen == [("Lima", "kept")] * 2


def test_without_raising_the_refusal_is_returned() -> None:
    run = AgentRun(gate(), 0.5)

    @guarded_tool(gate=gate(), run=run, raising=False)
    def pay(**arguments: Any) -> str:
        return "paid"

    refused: Any = pay(to="ann", amount=-1)
    assert isinstance(refused, ToolRefused)
    assert refused.verdict.problems == ("the argument 'amount' does not fit its schema",)


def test_outside_a_run_and_in_one_of_another_gate_nothing_is_made() -> None:
    from gate.agents import ToolGate

    assert current_run() is None
    with pytest.raises(ConfigError, match="the tool 'pay' was called outside any run"):
        pay_someone("ann", 10)
    with AgentRun(ToolGate(POLICY)), pytest.raises(ConfigError, match="another tool gate"):
        pay_someone("ann", 10)
    assert paid == []


def test_arguments_are_those_of_the_call_as_json() -> None:
    class Payee(BaseModel):
        name: str

    run = AgentRun(gate(), 0.5)

    @guarded_tool(gate=gate(), name="pay", run=run, raising=False)
    def pay(to: Any, amount: Any) -> None: ...

    refused: Any = pay(Payee(name="ann"), 10)
    assert refused.verdict.call.arguments == '{"amount": 10, "to": {"name": "ann"}}'
    with pytest.raises(
        TypeError, match=r"the argument 'to' is no JSON: leave it out of the call with leave_out=\['to'\]"
    ):
        pay(date(2031, 1, 1), 10)
    with pytest.raises(TypeError, match="missing a required argument"):
        pay("ann")  # type: ignore[call-arg]


def test_what_cannot_be_undone_is_made_once_however_its_arguments_are_given() -> None:
    with AgentRun(gate(), 0.5, ask_person=lambda verdict: True):
        assert pay_someone("ann", 100) == "paid 100"
        for given, named in ((("ann", 100.0), {}), (("ann", 100, ""), {}), (("ann",), {"amount": 100, "note": ""})):
            with pytest.raises(AnswerWithheld, match="it was made before"):
                pay_someone(*given, **named)  # type: ignore[arg-type]
    assert len(paid) == 1
