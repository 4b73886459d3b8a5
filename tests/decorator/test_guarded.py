"""Plain and ``async`` functions, guarded."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from pathlib import Path

import pytest

import gate
from tests.decorator.policies import by_draft, by_votes


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_draft(tmp_path_factory.mktemp("sure"))


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_votes(tmp_path_factory.mktemp("votes"))


def test_the_value_comes_with_its_decision_and_never_as_an_exception(votes: Path) -> None:
    @gate.guard(policy=votes, default="never")
    def answer(question: str) -> str:
        return "China"

    @gate.guard(policy=votes)
    async def later(question: str) -> str:
        return "China"

    for decided in (answer.decided("Where is Nanjing?"), asyncio.run(later.decided("Where is Nanjing?"))):
        assert isinstance(decided.value, gate.Abstained)
        assert (decided.answered, decided.reason, decided.p) == (False, "uncertain", 0.0)
    assert answer("Where is Nanjing?") == "never"
    assert len(answer.decisions) == 2


def test_it_runs_where_it_is_called(sure: Path) -> None:
    """On the caller's own thread, task and context."""
    of_caller: ContextVar[str] = ContextVar("of_caller")

    @gate.guard(policy=sure)
    def answer(question: str) -> str:
        of_caller.set("set inside")
        return "China"

    @gate.guard(policy=sure)
    async def later(question: str) -> str:
        of_caller.set("set in the task")
        task = asyncio.current_task()
        return str(None if task is None else task.get_name())

    answer("Where is Nanjing?")
    assert of_caller.get() == "set inside"

    async def main() -> str:
        said = await later("Where is Nanjing?")
        assert of_caller.get() == "set in the task"
        task = asyncio.current_task()
        assert task is not None
        assert said == task.get_name()
        return said

    asyncio.run(main())


def test_samples_see_the_callers_context_and_leave_it_alone(votes: Path) -> None:
    of_caller: ContextVar[str] = ContextVar("of_caller", default="nobody")
    seen: list[str] = []

    @gate.guard(policy=votes, samples="again")
    def answer(question: str) -> str:
        seen.append(of_caller.get())
        of_caller.set("changed")
        return "China"

    of_caller.set("the caller")
    answer("Where is Nanjing?")
    assert seen == ["the caller"] * 11
    assert of_caller.get() == "changed", "by the first call, as without a guard"


def test_arguments_by_any_name_reach_the_function(sure: Path) -> None:
    @gate.guard(policy=sure, question="asked")
    def answer(asked: str, /, self: str, *more: str, **named: str) -> str:
        return f"{asked} {self} {more} {named}"

    assert answer("?", "me", "a", args="b", kwargs="c") == "? me ('a',) {'args': 'b', 'kwargs': 'c'}"


def test_with_options_and_with_policy_guard_anew(sure: Path, votes: Path) -> None:
    @gate.guard(policy=votes)
    def answer(question: str) -> str:
        return "China"

    @gate.guard(policy=votes)
    async def later(question: str) -> str:
        return "China"

    assert answer.with_options(default="never")("?") == "never"
    assert answer.with_policy(sure)("?") == "China"
    assert answer.with_policy(votes, samples="again")("?") == "China"
    assert asyncio.run(later.with_policy(sure)("?")) == "China"
    assert asyncio.run(later.with_options(default=None)("?")) is None
    with pytest.raises(gate.UnknownName, match=r"unknown option of gate.guard 'sampels'"):
        answer.with_options(sampels="again")
