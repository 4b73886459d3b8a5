"""One call of a guarded function: what is known of its answer, where more come from, and what comes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.decorator.guarded_call import Keeping
from gate.decorator.guarding import Calls
from gate.types import Generation
from tests.decorator.policies import POLICY, by_draft, by_votes

PRICED = POLICY.replace("identity: model-1", "identity: model-1, price: {prompt: 1000000, completion: 2000000}")
POCKET = POLICY.replace("{mine: {kind: caller, identity: model-1}}", "{mine: {kind: pocket, model: small}}")


def completion(text: str, *others: str) -> dict[str, Any]:
    choices = [{"message": {"role": "assistant", "content": each}} for each in (text, *others)]
    return {"model": "small-1", "choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_votes(tmp_path_factory.mktemp("votes"))


def missing(decided: gate.Decided[Any]) -> str:
    return decided.outcome.steps[-1].signals.readings[0].missing or ""


def test_the_call_costs_what_the_answer_tells(tmp_path: Path) -> None:
    @gate.guard(policy=by_draft(tmp_path, upstream=PRICED))
    def answer(question: str) -> dict[str, Any]:
        threading.Event().wait(0.02)
        return completion("China")

    decided = answer.decided("Where is Nanjing?")
    cost = decided.cost
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens, cost.money) == (1, 3, 2, 7.0)
    assert 0.02 <= cost.seconds < 5.0
    (entry,) = decided.trace.tape
    assert entry.generations is not None
    assert entry.generations.model == "small-1"


def test_further_choices_are_samples(votes: Path) -> None:
    @gate.guard(policy=votes, on_abstention="return")
    def answer(question: str, others: list[str]) -> dict[str, Any]:
        return completion("China", *others)

    assert answer("Where is Nanjing?", ["China"] * 10) == completion("China", *["China"] * 10)
    assert isinstance(answer("Where is Nanjing?", ["Peru"] * 10), gate.Abstained)


def test_a_sample_gets_its_own_copy_of_what_the_function_changes(votes: Path) -> None:
    seen: list[int] = []

    @gate.guard(policy=votes, samples="again", side_by_side=False)
    def answer(messages: list[dict[str, str]], by_name: dict[str, list[str]]) -> str:
        seen.append(len(messages) + len(by_name["log"]))
        messages.append({"role": "assistant", "content": "China"})
        by_name["log"].append("asked")
        return "China"

    messages = [{"role": "user", "content": "Where is Nanjing?"}]
    decided = answer.decided(messages, by_name={"log": []})
    assert seen == [1] * 11
    assert len(messages) == 2, "the caller's own is changed, as without a guard"
    assert decided.trace.question is not None
    assert len(decided.trace.question.messages) == 1


def test_arguments_that_are_used_up_are_not_used_again(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again", on_abstention="return")
    def answer(question: str, passages: Any) -> str:
        return "".join(passages)

    assert isinstance(answer("Where is Nanjing?", iter(["Chi", "na"])), gate.Abstained)
    assert answer.calls.total == 1
    assert "one of its arguments, a list_iterator, is used up by the first call" in missing(answer.decisions[0])
    assert answer("Where is Nanjing?", ["Chi", "na"]) == "China"


def test_samples_that_fail_leave_the_others(votes: Path) -> None:
    lock, count = threading.Lock(), 0

    @gate.guard(policy=votes, samples="again")
    def answer(question: str) -> str | None:
        nonlocal count
        with lock:
            count += 1
            place = count
        if place == 3:
            raise ValueError("no model")
        return None if place == 4 else "China"

    assert answer("Where is Nanjing?") == "China"
    assert answer.decisions[0].outcome.steps[-1].signals.value("vote_share") == 1.0
    assert (answer.calls.again, answer.decisions[0].cost.calls) == (12, 13), "those that failed are asked for again"


def test_guarded_functions_inside_are_not_multiplied(votes: Path) -> None:
    inner_policy = votes
    inner_calls: list[bool] = []

    @gate.guard(policy=inner_policy, samples="again", default="China")
    def inner(question: str) -> str:
        inner_calls.append(True)
        return "China"

    @gate.guard(policy=votes, samples="again")
    def outer(question: str) -> str:
        return str(inner(question))

    @gate.guard(policy=inner_policy, samples="again", default="China")
    async def inner_later(question: str) -> str:
        inner_calls.append(True)
        return "China"

    @gate.guard(policy=votes, samples="again")
    async def outer_later(question: str) -> str:
        return str(await inner_later(question))

    assert outer("Where is Nanjing?") == "China"
    assert (outer.calls.total, outer.calls.again) == (11, 10)
    assert (inner.calls.total, inner.calls.again) == (21, 10), (
        "ten samples in the first call, none in those for samples"
    )
    assert len(inner.decisions) == 1, "in samples it is not judged by itself"
    assert asyncio.run(outer_later("Where is Nanjing?")) == "China"
    assert (inner_later.calls.total, inner_later.calls.again) == (21, 10)


def test_guarded_functions_inside_a_sample_are_not_judged(votes: Path) -> None:
    """Without votes of their own they would be withheld there, and the outer one have no samples."""
    told: list[gate.Decided[str]] = []

    @gate.guard(policy=votes, samples="again")
    def inner(question: str) -> str:
        return "China"

    @gate.guard(policy=votes, samples="again")
    def pieces(question: str) -> Iterator[str]:
        yield from ("Chi", "na")

    @gate.guard(policy=votes, samples="again")
    async def later(question: str) -> str:
        return "China"

    @gate.guard(policy=votes, samples="again")
    async def pieces_later(question: str) -> AsyncIterator[str]:
        yield "China"

    @gate.guard(policy=votes, samples="again")
    def outer(question: str) -> str:
        told.append(inner.decided(question))
        return inner(question) and "".join(pieces(question))

    @gate.guard(policy=votes, samples="again")
    async def outer_later(question: str) -> str:
        return await later(question) and "".join([piece async for piece in pieces_later(question)])

    assert outer("Where is Nanjing?") == "China"
    assert asyncio.run(outer_later("Where is Nanjing?")) == "China"
    assert (len(inner.decisions), len(pieces.decisions), len(later.decisions), len(pieces_later.decisions)) == (
        2,
        1,
        1,
        1,
    )
    assert pieces.calls == later.calls == pieces_later.calls == Calls(21, 10, 0)
    assert {(each.value, each.certified, each.reason) for each in told[1:]} == {("China", False, "in_a_sample")}
    assert told[1].explain()["action"] == "answer"

    @gate.guard(policy=votes, samples="again")
    def itself(question: str, depth: int = 2) -> str:
        return itself(question, depth - 1) if depth else "China"

    assert itself("Where is Nanjing?") == "China"


def test_what_fails_in_a_sample_fails_there(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again")
    def inner(question: str) -> str | None:
        return None if inner.calls.total > 11 else "China"

    @gate.guard(policy=votes, samples="again", on_abstention="return")
    def outer(question: str) -> str:
        return inner(question) or "Peru"

    assert isinstance(outer("Where is Nanjing?"), gate.Abstained)
    assert "TypeError" in missing(outer.decisions[0])


def test_an_answer_names_the_model_that_wrote_it(tmp_path: Path) -> None:
    ladder = POLICY.replace("identity: model-1}}", "identity: model-1}, large: {kind: pocket, model: large}}")
    ladder = ladder.replace("ladder: [mine]", "ladder: [mine, large]") + "routes: {escalate: true}\n"

    @gate.guard(policy=by_votes(tmp_path, upstream=ladder), gather=True)
    def answer(question: str) -> dict[str, Any]:
        return completion("Peru", *["China"] * 5, *["Mali"] * 5)

    made = answer("Where is Nanjing?")
    assert made["choices"][0]["message"]["content"] == "China"
    assert "large" in made["model"]


def test_a_function_may_call_itself(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again", default="China")
    def answer(question: str, depth: int) -> str:
        return str(answer(question, depth - 1)) if depth else "China"

    assert answer("Where is Nanjing?", 2) == "China"
    assert answer.calls.total == 3 + 10 * (1 + 2 + 3), "not a thousand"


def test_certificates_and_samples_go_by_who_is_said_to_write_it(tmp_path: Path) -> None:
    def answer(question: str) -> str:
        return "China"

    path = by_votes(tmp_path, upstream=POCKET)
    vouched = gate.guard(policy=path, written_by="mine", on_abstention="return")(answer)
    vouched("Where is Nanjing?")
    step = vouched.decisions[0].outcome.steps[-1]
    assert step.signals.value("vote_share") is not None, "the policy's own upstream drew the samples"
    assert step.void == ()
    unvouched = gate.guard(policy=path, on_abstention="return")(answer)
    unvouched("Where is Nanjing?")
    assert unvouched.decisions[0].outcome.steps[-1].void != ()
    assert (vouched.calls.total, unvouched.calls.total) == (1, 1)


def test_a_shipped_policy_goes_its_own_ways_where_the_answer_is_not_good_enough() -> None:
    @gate.guard("balanced", gather=True, default="")
    def answer(question: str) -> str:
        return "India"

    decided = answer.decided("Where is Cairo?")
    assert (decided.value, decided.answered) == ("Egypt", True)
    ways = [step.decision.stage.round_key for step in decided.outcome.steps]
    assert ways[:2] == ["small/closed_book", "small/with_passages"], "its small model reads what was found"
    assert answer.calls.total == 1


def test_models_that_know_nothing_of_a_function_never_answer_in_its_stead(caplog: pytest.LogCaptureFixture) -> None:
    @gate.guard("balanced", default="")
    def answer(question: str) -> str:
        return "France"

    decided = answer.decided("Where is Paris?")
    assert (decided.answered, decided.cost.calls, decided.outcome.withheld) == (False, 1, Generation("France"))
    assert "lets none of these answers through: it answers nothing at small/closed_book" in caplog.text


def test_a_gates_log_keeps_what_its_guards_decide(tmp_path: Path, votes: Path) -> None:
    with gate.Gate(votes, log=f"sqlite:///{tmp_path / 'log.db'}") as held:

        @gate.guard(policy=held, default="")
        def answer(question: str) -> str:
            return "China"

        answer("Where is Nanjing?")
        assert held.label(answer.decisions[0], False)


def test_the_answer_is_with_whatever_ends_the_judging() -> None:
    error, value = ValueError("no"), Generation("China")
    with pytest.raises(ValueError, match="no") as raised, Keeping(value):
        raise error
    assert raised.value.value is value  # type: ignore[attr-defined]
    with Keeping(value):
        pass
