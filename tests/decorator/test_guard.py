"""`guard` on functions of every kind: what is let through, what is not, and what the function is to everybody else."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.decorator.guard import guarded
from gate.decorator.guard_settings import GuardSettings
from gate.errors import ConfigError, UnknownName
from tests.decorator.policies import POLICY, by_draft, by_votes

LADDER = """\
name: mine
promise: {max_error: 0.1}
upstreams: {mine: {kind: caller, identity: model-1}, large: {kind: pocket, model: large}}
ladder: [mine, large]
"""


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lets a text through."""
    return by_draft(tmp_path_factory.mktemp("sure"))


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lets through what samples agree with: without samples nothing."""
    return by_votes(tmp_path_factory.mktemp("votes"))


@pytest.fixture(scope="module")
def climbing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asks the large pocket model where nothing is let through."""
    return by_votes(tmp_path_factory.mktemp("climbing"), upstream=LADDER)


class Text(str):
    """A text that can be told from its equals."""


# --- what comes back ---------------------------------------------------------------------------------------------


def test_the_very_object_is_returned_where_it_is_let_through(sure: Path) -> None:
    said = Text("China")

    @gate.guard(policy=sure)
    def answer(question: str) -> str:
        return said

    @gate.guard(policy=sure)
    async def later(question: str) -> str:
        return said

    assert answer("Where is Nanjing?") is said
    assert asyncio.run(later("Where is Nanjing?")) is said
    decided = answer.decisions[-1]
    assert (decided.value, decided.answered, decided.reason) == ("China", True, "confident")
    assert decided.value is said
    assert decided.trace.question == gate.Question.from_text("Where is Nanjing?")


def test_what_is_not_let_through_is_raised_returned_or_replaced(votes: Path) -> None:
    def answer(question: str) -> str:
        return "China"

    with pytest.raises(gate.AnswerWithheld, match="I do not know the answer to your question for certain") as raised:
        gate.guard(policy=votes)(answer)("Where is Nanjing?")
    assert raised.value.abstained.outcome.withheld is not None
    assert raised.value.abstained.outcome.withheld.text == "China"
    returned = gate.guard(policy=votes, on_abstention="return")(answer)("Where is Nanjing?")
    assert isinstance(returned, gate.Abstained)
    assert not returned
    nothing = gate.guard(policy=votes, default=None)(answer)
    assert nothing("Where is Nanjing?") is None
    assert isinstance(nothing.decisions[0].value, gate.Abstained)
    listed: list[str] = []
    assert gate.guard(policy=votes, default=listed)(answer)("Where is Nanjing?") is listed


def test_another_answer_comes_in_the_likeness_of_the_functions_own(climbing: Path) -> None:
    @gate.guard(policy=climbing)
    def answer(question: str) -> str:
        return "Mars"

    @gate.guard(policy=climbing)
    def pieces(question: str) -> Iterator[str]:
        yield "Ma"
        yield "rs"

    @gate.guard(policy=climbing, on_abstention="return")
    def number(question: str) -> int:
        return 4

    assert answer("Where is Nanjing?") == "China"
    assert answer.decisions[-1].outcome.upstream == "large"
    assert answer.calls.total == 1
    assert list(pieces("Where is Nanjing?")) == ["China"]
    assert gate.guard(policy=climbing, gather=False, default="")(answer.unguarded)("Where is Nanjing?") == ""
    unwritten = number("Where is Nanjing?")
    assert isinstance(unwritten, gate.Abstained)
    assert (unwritten.reason, unwritten.action) == ("not_written", "abstain")
    assert unwritten.outcome.decision.detail == "the answer of 'large' cannot be written as a int"
    assert unwritten.text.startswith("I do not know")
    assert unwritten.outcome.withheld is not None
    assert unwritten.outcome.withheld.text == "China"
    assert unwritten.trace.outcome == unwritten.outcome
    assert "China" not in str(number.decisions[-1].explain())


def test_what_the_function_raises_is_raised_as_it_is(sure: Path) -> None:
    error, seen = ValueError("no model"), []

    @gate.guard(policy=sure)
    def answer(question: str) -> str:
        raise error

    @gate.guard(policy=sure)
    async def later(question: str) -> str:
        raise error

    for call in (lambda: answer("?"), lambda: asyncio.run(later("?"))):
        error.__traceback__ = None
        with pytest.raises(ValueError, match="no model") as raised:
            call()
        assert raised.value is error
        assert (error.__cause__, error.__context__, vars(error)) == (None, None, {})
        seen.append([frame.name for frame in traceback.extract_tb(error.__traceback__)][-1])
    assert seen == ["answer", "later"]
    assert answer.decisions == later.decisions == ()
    assert answer.calls.total == 1


@pytest.mark.parametrize("value", [None, object()])
def test_what_is_no_answer_is_told_once_and_not_lost(value: object, sure: Path) -> None:
    calls = []

    @gate.guard(policy=sure, samples="again")
    def answer(question: str) -> object:
        calls.append(question)
        return value

    what = "None" if value is None else "a object"
    with pytest.raises(TypeError, match=rf"answer returned {what}, which is no answer") as raised:
        answer("?")
    assert raised.value.value is value  # type: ignore[attr-defined]
    assert calls == ["?"]


def test_what_is_wrong_before_the_call_costs_none(tmp_path: Path, sure: Path) -> None:
    called = []

    def answer(question: str) -> str:
        called.append(question)
        return "China"

    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        gate.guard(policy=tmp_path / "absent.yaml")(answer)("?")
    with pytest.raises(UnknownName, match="unknown upstream in the ladder 'large'"):
        gate.guard(policy=sure, written_by="large")(answer)("?")
    with pytest.raises(TypeError, match="the argument 'question' is a int"):
        gate.guard(policy=sure)(answer)(3)  # type: ignore[arg-type]
    assert called == []


# --- samples -----------------------------------------------------------------------------------------------------


def test_the_function_is_called_once_unless_more_is_allowed(votes: Path, caplog: pytest.LogCaptureFixture) -> None:
    @gate.guard(policy=votes, on_abstention="return")
    def answer(question: str) -> str:
        return "China"

    with caplog.at_level(logging.WARNING, logger="gate.decorator.guard"):
        answer("Where is Nanjing?")
        answer("Where is Lagos?")
    assert len(caplog.messages) == 1
    assert "is never called again, so the policy 'mine' gets no samples of it: samples='again'" in caplog.messages[0]
    assert (answer.calls.total, answer.calls.again) == (2, 0)
    step = answer.decisions[-1].outcome.steps[-1]
    assert "only with samples='again'" in (step.signals.readings[0].missing or "")
    assert answer.decisions[-1].cost.calls == 1, "what was refused was not asked"


@pytest.mark.parametrize("side_by_side", [True, False])
def test_again_calls_it_for_each_sample_and_counts(side_by_side: bool, votes: Path) -> None:
    threads = []

    @gate.guard(policy=votes, samples="again", side_by_side=side_by_side)
    def answer(question: str) -> str:
        threads.append(threading.get_ident())
        return "China"

    @gate.guard(policy=votes, samples="again", side_by_side=side_by_side)
    async def later(question: str) -> str:
        await asyncio.sleep(0)
        return "China"

    assert answer("Where is Nanjing?") == "China"
    assert (answer.calls.total, answer.calls.again, answer.calls.repeated) == (11, 10, 0)
    assert (threads.count(threading.get_ident()) == 11) is not side_by_side
    assert asyncio.run(later("Where is Nanjing?")) == "China"
    assert (later.calls.total, later.calls.again) == (11, 10)
    assert later.decisions[0].cost.calls == 11


def test_samples_that_disagree_withhold_the_answer(votes: Path) -> None:
    said = iter(["China", *("Peru", "Chad", "Fiji", "Mali", "Oman") * 2])

    @gate.guard(policy=votes, samples="again", side_by_side=False)
    def answer(question: str) -> str:
        return next(said)

    with pytest.raises(gate.AnswerWithheld):
        answer("Where is Nanjing?")
    assert answer.decisions[0].outcome.steps[-1].signals.value("vote_share") == 0.0


# --- typing, names and frameworks --------------------------------------------------------------------------------


TYPED = """\
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, assert_type
import gate
from gate import Abstained, Decided

@gate.guard
def bare(question: str, n: int = 3) -> str: return ""
@gate.guard(policy="balanced", samples="again")
def told(question: str) -> str: return ""
@gate.guard("strict", default=None)
def nothing(question: str) -> str: return ""
@gate.guard(on_abstention="return", remember=3)
async def later(question: str) -> dict[str, int]: return {}
@gate.guard()
def pieces(question: str) -> Iterator[str]: yield ""
@gate.guard(default=0)
async def pieces_later(question: str) -> AsyncIterator[str]: yield ""

class Desk:
    @gate.guard(on_abstention="return")
    def ask(self, question: str) -> str: return ""
    @gate.guard
    async def aask(self, question: str, *, deep: bool = False) -> str: return ""
    @gate.guard
    @staticmethod
    def still(question: str) -> str: return ""
    @staticmethod
    @gate.guard(default=None)
    def still_below(question: str) -> str: return ""
    @gate.guard(default=None)
    @classmethod
    def of(cls, question: str) -> str: return ""
    @classmethod
    @gate.guard
    def of_below(cls, question: str) -> str: return ""
    @gate.guard
    @classmethod
    async def aof(cls, question: str) -> str: return ""
    @gate.guard
    @staticmethod
    def pieces(question: str) -> Iterator[str]: yield ""

class FrontDesk(Desk): ...

assert_type(bare("?", n=4), str)
assert_type(told("?"), str)
assert_type(nothing("?"), str | None)
assert_type(bare.decided("?"), Decided[str])
assert_type(pieces("?"), Generator[str, Any, Any])
assert_type(pieces.decided("?"), Decided[tuple[str, ...]])
assert_type(pieces_later("?"), AsyncGenerator[str | int, None])
assert_type(Desk().ask("?"), str | Abstained)
assert_type(Desk.ask(Desk(), "?"), str | Abstained)
assert_type(Desk().ask.decided("?"), Decided[str])
assert_type(Desk.still("?"), str)
assert_type(Desk().still("?"), str)
assert_type(FrontDesk.still_below("?"), str | None)
assert_type(Desk().still_below("?"), str | None)
assert_type(Desk.of("?"), str | None)
assert_type(FrontDesk().of("?"), str | None)
assert_type(Desk().of_below("?"), str)
assert_type(FrontDesk.of_below("?"), str)
assert_type(Desk.of_below.decided("?"), Decided[str])
assert_type(Desk().pieces("?"), Generator[str, Any, Any])
assert_type(told.with_policy("strict")("?"), str)
client = gate.capture(bare)
assert_type(client("?"), str)

async def main() -> None:
    assert_type(await later("?"), dict[str, int] | Abstained)
    assert_type(await later.decided("?"), Decided[dict[str, int]])
    assert_type(await Desk().aask("?", deep=True), str)
    assert_type(await Desk.aof("?"), str)

bare(3)  # error: arg-type
bare()  # error: call-arg
Desk().ask(3)  # error: arg-type
Desk.of(3)  # error: arg-type
Desk().still(3)  # error: arg-type
gate.guard(samples="agian")  # error: call-overload
"""


def test_types_are_kept(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    root = Path(gate.__file__).parents[1]
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-pretty",
        "--hide-error-context",
        str(tmp_path / "typed.py"),
    ]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = [line for line in run.stdout.splitlines() if "typed.py:" in line and ": error:" in line]
    expected = [
        (number, line.rpartition("# error: ")[2])
        for number, line in enumerate(TYPED.splitlines(), 1)
        if "# error: " in line
    ]
    told = [(int(line.rpartition(".py:")[2].split(":")[0]), line.rpartition("[")[2].rstrip("]")) for line in found]
    assert told == expected, run.stdout + run.stderr


def test_without_parentheses_by_place_and_on_partials_and_objects(sure: Path) -> None:
    @gate.guard
    def bare(question: str) -> str:
        return "China"

    class Model:
        def __call__(self, question: str) -> str:
            return "China"

    class Later:
        async def __call__(self, question: str) -> str:
            return "China"

    def two(model: str, question: str) -> str:
        return "China"

    async def two_later(model: str, question: str) -> str:
        return "China"

    assert bare.with_policy(sure)("Where is Nanjing?") == "China"
    by_place = gate.guard(sure)
    assert by_place(Model())("Where is Nanjing?") == "China"
    assert by_place(functools.partial(two, "small"))("Where is Nanjing?") == "China"
    assert by_place(functools.partial(two, model="small"))(question="Where is Nanjing?") == "China"
    assert asyncio.run(by_place(Later())("Where is Nanjing?")) == "China"
    assert asyncio.run(by_place(functools.partial(two_later, "small"))("Where is Nanjing?")) == "China"
    assert by_place(by_place(two))("small", "Where is Nanjing?") == "China"


def test_what_is_no_function_is_refused() -> None:
    class Model:
        def __call__(self, question: str) -> str:
            return ""

    async def later(question: str) -> str:
        return ""

    coroutine = later("?")
    for thing, said in ((None, "None is none"), (Model, "the class .*Model is none"), (3, "a int is none")):
        with pytest.raises(TypeError, match=f"gate.guard guards functions, and {said}"):
            gate.guard(thing)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a coroutine is none: guard the function itself, not what calling it gives"):
        guarded(coroutine, GuardSettings())
    coroutine.close()


# --- many at once ------------------------------------------------------------------------------------------------


def test_a_thousand_tasks_do_not_mix_their_decisions(sure: Path) -> None:
    @gate.guard(policy=sure, remember=1000)
    async def answer(question: str) -> str:
        await asyncio.sleep(0)
        return f"the answer to {question}"

    async def main() -> list[Any]:
        return await asyncio.gather(*(answer.decided(f"question {n}") for n in range(1000)))

    found = asyncio.run(main())
    assert [decided.value for decided in found] == [f"the answer to question {n}" for n in range(1000)]
    for n, decided in enumerate(found):
        assert decided.trace.question.text == f"question {n}"
        assert decided.outcome.generation.text == f"the answer to question {n}"
    assert answer.calls.total == len({decided.id for decided in answer.decisions}) == 1000


def test_threads_do_not_mix_their_samples(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again")
    def answer(question: str) -> str:
        return f"the answer to {question}"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answer.decided, [f"question {n}" for n in range(24)]))
    assert [decided.value for decided in found] == [f"the answer to question {n}" for n in range(24)]
    assert (answer.calls.total, answer.calls.again) == (24 * 11, 24 * 10)


def test_a_plain_one_works_inside_a_running_loop(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again")
    def answer(question: str) -> str:
        return "China"

    async def main() -> str:
        return answer("Where is Nanjing?")

    assert asyncio.run(main()) == "China"


def test_cancelling_leaves_nothing_behind(votes: Path) -> None:
    begun = asyncio.Event()
    cancelled = []

    @gate.guard(policy=votes, samples="again")
    async def answer(question: str) -> str:
        if answer.calls.again:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(question)
                raise
        return "China"

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(answer("Where is Nanjing?"))
            await begun.wait()
            task.cancel()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert len(cancelled) == 10
    assert answer.decisions == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_it_works_in_a_forked_process(sure: Path) -> None:
    code = (
        "import os, sys, gate\n"
        "@gate.guard(policy=sys.argv[1])\n"
        "def answer(question: str) -> str: return 'China'\n"
        "answer('Where is Nanjing?')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(0 if answer('Where is Lagos?') == 'China' and answer.calls.total == 2 else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answer.calls.total)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, sure], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "1"]


def test_guarding_adds_little_to_a_call(sure: Path) -> None:
    @gate.guard(policy=sure)
    def answer(question: str) -> str:
        return "China"

    def measured(calls: int = 100) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            answer("Where is Nanjing?")
        return (time.perf_counter() - began) / calls

    assert min(measured() for _ in range(12)) < 1e-3, "a tenth of that on a quiet machine"


def test_policies_are_shared_and_decorating_reads_no_file(tmp_path: Path) -> None:
    path = tmp_path / "by_draft.yaml"

    @gate.guard(policy=path)
    def one(question: str) -> str:
        return "China"

    @gate.guard(policy=path)
    async def other(question: str) -> AsyncIterator[str]:
        yield "China"

    by_draft(tmp_path, upstream=POLICY)
    assert one("?") == "China"
    held = gate.Gate(path)
    assert gate.guard(policy=held)(one.unguarded)("?") == "China"
    assert gate.guard(policy=held.gateway)(one.unguarded)("?") == "China"

    async def main() -> list[str]:
        return [piece async for piece in other("?")]

    assert asyncio.run(main()) == ["China"]
    assert one._guarding.gate is other._guarding.gate
