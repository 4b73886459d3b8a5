"""What the adapters share: the draft is judged, the model is asked again, all of it is counted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from gate.answer_shapes.shape import Read
from gate.decorator.decided import Abstained
from gate.decorator.gate import Gate, question_of
from gate.effects import Generate
from gate.errors import AnswerWithheld, ConfigError, RequestError
from gate.integrations.judging import Draft, Judge, Stopwatch, conversation, opened, options_of, or_raise, told
from gate.types import Action, Generation, Passage, Usage
from tests.integrations.voting import REFUSAL, voting

QUESTION = question_of("Where is Nanjing?")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with voting(tmp_path_factory.mktemp("policies")) as opened_once:
        yield opened_once


class Model:
    """Says the same each time, and takes ten tokens to be asked and two to say it."""

    def __init__(self, *says: str) -> None:
        self.says: Iterator[str] = iter(says)
        self.asked: list[Generate] = []

    def __call__(self, effect: Generate) -> Read:
        self.asked.append(effect)
        return read(next(self.says))

    async def later(self, effect: Generate) -> Read:
        await asyncio.sleep(0)
        return self(effect)


def read(text: str) -> Read:
    return Read(Generation(text), usage=Usage(10, 2), model="theirs")


DRAFT = Draft(read("China"), 0.5)


def test_the_draft_goes_out_when_samples_agree(gate: Gate) -> None:
    verdict = Judge(gate).judge(QUESTION, DRAFT, Model("China", "China", "Peru", "China", "China"))
    assert verdict.kept
    assert verdict.decided.value == "China"
    assert verdict.decided.p == pytest.approx(5 / 7)


def test_all_is_counted_the_draft_too(gate: Gate) -> None:
    cost = Judge(gate).judge(QUESTION, DRAFT, Model(*["China"] * 5)).decided.cost
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens) == (6, 60, 12)
    assert cost.money == pytest.approx((60 * 1.0 + 12 * 2.0) / 1e6)
    assert cost.seconds >= 0.5


def test_samples_are_asked_for_at_the_policys_temperature(gate: Gate) -> None:
    model = Model(*["China"] * 5)
    Judge(gate).judge(QUESTION, DRAFT, model)
    assert [effect.temperature for effect in model.asked] == [0.9] * 5
    assert {effect.messages for effect in model.asked} == {QUESTION.messages}


def test_another_answer_goes_out_where_the_policy_finds_one(gate: Gate) -> None:
    verdict = Judge(gate).judge(QUESTION, Draft(read("Brazil")), Model(*["China"] * 5))
    assert not verdict.kept
    assert (verdict.decided.text, verdict.decided.outcome.upstream) == ("China", "pocket")


def test_the_policys_own_models_are_left_alone_where_it_is_only_judged(gate: Gate) -> None:
    verdict = Judge(gate, gather=False).judge(QUESTION, Draft(read("Brazil")), Model(*["China"] * 5))
    assert isinstance(verdict.decided.value, Abstained)
    assert (verdict.decided.text, verdict.decided.cost.calls) == (REFUSAL, 6)


def test_no_more_samples_are_drawn_than_allowed_and_those_refused_cost_nothing(gate: Gate) -> None:
    model = Model(*["China"] * 5)
    made = Judge(gate, samples=3, gather=False).judge(QUESTION, DRAFT, model).decided
    assert len(model.asked) == 3
    assert (made.cost.calls, made.p) == (4, pytest.approx(4 / 7))  # the two that were not drawn agree with nobody


def test_none_are_drawn_where_none_may_be(gate: Gate) -> None:
    model = Model()
    made = Judge(gate, samples=0, gather=False).judge(QUESTION, DRAFT, model).decided
    assert (model.asked, made.cost.calls, made.action) == ([], 1, Action.ABSTAIN)


def test_samples_below_none_are_refused(gate: Gate) -> None:
    with pytest.raises(ValueError, match="not -1"):
        Judge(gate, samples=-1)


def test_a_sample_with_a_fault_is_left_out(gate: Gate) -> None:
    def faulty(effect: Generate) -> Read:
        raise OSError("Where is Nanjing?")

    made = Judge(gate, gather=False).judge(QUESTION, DRAFT, faulty).decided
    assert made.action is Action.ABSTAIN
    assert "failed: OSError" in str(made.explain())
    assert "Where is" not in str(told(made))  # its words may be the user's


def test_samples_are_drawn_in_the_callers_context(gate: Gate) -> None:
    user: ContextVar[str] = ContextVar("user")
    seen: set[tuple[str, str]] = set()

    def model(effect: Generate) -> Read:
        seen.add((user.get("nobody"), threading.current_thread().name.rpartition("_")[0]))
        return read("China")

    user.set("ada")
    assert Judge(gate).judge(QUESTION, DRAFT, model).kept
    assert seen == {("ada", "gate-together")}


def test_on_an_event_loop_samples_are_awaited(gate: Gate) -> None:
    model = Model(*["China"] * 5)
    verdict = asyncio.run(Judge(gate).ajudge(QUESTION, DRAFT, model.later))
    assert verdict.kept
    assert verdict.decided.cost.calls == 6


def test_no_certificate_holds_for_a_model_that_nobody_vouches_for() -> None:
    with Gate("strict") as strict:
        judge = Judge(strict, samples=0)
        assert judge.judge(QUESTION, DRAFT, Model()).decided.reason == "certificate_void"
        vouched = Judge(strict, samples=0, written_by="small").judge(QUESTION, DRAFT, Model()).decided
        assert vouched.reason != "certificate_void"


def test_a_name_that_is_none_of_the_ladder_is_refused(gate: Gate) -> None:
    """Before anything is asked, and so paid for."""
    with pytest.raises(ConfigError, match="nobody"):
        Judge(gate, written_by="nobody")


def test_an_answer_written_from_passages_is_judged_by_them() -> None:
    found = (Passage("a", "Nanjing is a city in China."),)
    with Gate("balanced") as balanced:
        made = Judge(balanced, samples=0, gather=False, anything=False).judge(QUESTION, DRAFT, Model(), found).decided
    assert made.outcome.steps[0].decision.stage.passages
    assert made.outcome.steps[0].signals.value("answer_in_passages") == 1.0


def test_what_is_told_is_plain_json_with_p(gate: Gate) -> None:
    made = Judge(gate).judge(QUESTION, DRAFT, Model(*["China"] * 5)).decided
    said = told(made)
    assert json.loads(json.dumps(said)) == said
    assert (said["action"], said["p"], said["id"]) == ("answer", made.p, made.id)


def test_the_passages_behind_an_answer_are_told() -> None:
    with Gate("balanced") as balanced:
        said = told(balanced.ask("Where is Nanjing?"))
    assert [source["id"] for source in said["sources"]] == ["country:Nanjing"]


def test_an_abstention_is_raised_where_it_is_wanted_so(gate: Gate) -> None:
    made = Judge(gate, gather=False).judge(QUESTION, DRAFT, Model(*"abcde")).decided
    or_raise(made, "refusal")
    with pytest.raises(AnswerWithheld, match=REFUSAL) as raised:
        or_raise(made, "raise")
    assert raised.value.abstained.p == pytest.approx(1 / 7)


def test_messages_are_read_as_the_wire_has_them() -> None:
    wires = [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    said = conversation(wires)
    assert [(message.role, message.content) for message in said] == [("user", "Look:"), ("assistant", "")]
    assert [message.wire for message in said] == wires


@pytest.mark.parametrize("fields", [{"temperature": "hot"}, {"max_tokens": 0}, {"api_key": "x"}, {"base_url": "y"}])
def test_options_no_model_takes_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        options_of(fields)


def test_options_left_out_are_none() -> None:
    assert options_of({"temperature": 0.3, "stop": None, "tools": []}) == {"temperature": 0.3, "tools": []}


def test_a_policy_is_opened_once(gate: Gate) -> None:
    assert opened(gate) is gate
    assert opened(gate.gateway).gateway is gate.gateway
    with pytest.raises(ConfigError, match="balanzed"):
        opened("balanzed")


def test_a_stopwatch_tells_seconds() -> None:
    with Stopwatch() as watch:
        pass
    assert 0 <= watch.seconds < 1


def test_what_a_gate_with_a_log_decides_is_kept(gate: Gate, tmp_path: Path) -> None:
    with Gate(gate.gateway, log=f"sqlite:///{tmp_path / 'kept.db'}") as logged:
        first = Judge(logged, gather=False).judge(QUESTION, DRAFT, Model(*"abcde")).decided
        later = asyncio.run(Judge(logged, gather=False).ajudge(QUESTION, DRAFT, Model(*"abcde").later)).decided
        assert logged.label(first, right=False)
        assert logged.label(later, right=False)
    with pytest.raises(TypeError, match=r"budget: a gate\.Budget was expected"):
        Judge(gate, budget=5)  # type: ignore[arg-type]
