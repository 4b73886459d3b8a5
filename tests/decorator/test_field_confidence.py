"""Which fields to trust: p for each, fitted or marked as not, and of a decision from its own tape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.assemble import load_gateway
from gate.calibration.logistic import LogisticCalibrator
from gate.decorator.decided import Decided
from gate.decorator.field_confidence import confidences, drawn_beside, field_confidence, load_field_calibrator
from gate.decorator.gate import Gate
from gate.effects import Generate
from gate.errors import ConfigError, StaleCalibrator
from gate.gateway import Gateway
from gate.signals.field_readings import field_readings
from gate.traces import TapeEntry
from gate.tuning.field_fit import fit_fields
from gate.types import Cost, Generation, Generations, TokenLogprob, ToolCall
from tests.scripted import Scripted, plan_over, world_of
from tests.tuning.test_field_fit import simulated

DRAFT = '{"city": "Lagos", "people": 15}'
SAMPLES = ('{"city": "Lagos", "people": 15}', '{"city": "Lagos", "people": 14}', "I do not know.")


@pytest.fixture(scope="module")
def fitted() -> LogisticCalibrator:
    return fit_fields(simulated(60, 7))


def test_without_a_calibrator_p_is_laplaces_rule_and_says_so() -> None:
    city, people = field_confidence(DRAFT, SAMPLES)
    assert (city.pointer, city.value, city.present) == ("/city", "Lagos", True)
    assert city.p == pytest.approx(3 / 5)
    assert people.p == pytest.approx(2 / 5)
    assert city.agreement == pytest.approx(2 / 3)
    assert not city.calibrated
    assert city.confidence.low < city.p < city.confidence.high
    [alone, _] = field_confidence(DRAFT)
    assert (alone.p, alone.confidence.low, alone.confidence.high) == (0.5, 0.0, 1.0)
    assert alone.agreement is None
    assert not alone.calibrated


def test_with_one_p_is_its_own_and_tokens_count(fitted: LogisticCalibrator) -> None:
    def told(logprob: float) -> float:
        tokens = [TokenLogprob(part, logprob) for part in ('{"city": ', '"Lagos"', ', "people": 15}')]
        city, _ = field_confidence(DRAFT, SAMPLES, logprobs=tokens, calibrator=fitted)
        assert city.calibrated
        assert city.logprob_sum == city.logprob_min == logprob
        assert city.confidence.low <= city.p <= city.confidence.high
        return city.p

    assert told(-0.01) > told(-0.5) > told(-3.0)


def test_arguments_of_a_tool_call_go_by_the_same_names() -> None:
    def call(city: str) -> Generation:
        return Generation("", tool_calls=(ToolCall("1", "find", json.dumps({"city": city})),))

    [city] = field_confidence(call("Lagos"), [call("Lagos"), call("Accra")])
    assert (city.pointer, city.p) == ("/find/0/city", 0.5)


def test_text_that_is_no_json_has_no_fields() -> None:
    assert field_confidence("Lagos", ["Lagos"]) == ()
    with pytest.raises(TypeError, match="cannot read an answer off"):
        field_confidence(object())


def test_a_calibrator_from_its_file(fitted: LogisticCalibrator, tmp_path: Path) -> None:
    path = tmp_path / "fields.json"
    path.write_text(fitted.dump())
    assert load_field_calibrator(path) == fitted
    assert field_confidence(DRAFT, SAMPLES, calibrator=str(path)) == field_confidence(DRAFT, SAMPLES, calibrator=fitted)
    with pytest.raises(ConfigError, match="cannot read the calibrator"):
        field_confidence(DRAFT, calibrator=tmp_path / "none.json")
    path.write_text("{}")
    with pytest.raises(ConfigError, match="not a usable calibrator"):
        load_field_calibrator(path)
    with pytest.raises(StaleCalibrator, match="the calibrator was fitted for"):
        confidences(field_readings(Generation(DRAFT)), LogisticCalibrator(signals=("vote_share",), stages={}))


# --- of a decision -----------------------------------------------------------------------------------------------


def gate_over(answer_at: float, *upstreams: Scripted) -> Gate:
    by_name = {each.name: each for each in upstreams}
    policy = load_gateway("balanced").policy
    return Gate(Gateway(policy, plan_over(by_name, answer_at=answer_at), world_of(by_name), {}))


def decided(answer_at: float, *upstreams: Scripted) -> Decided[str]:
    with gate_over(answer_at, *upstreams) as gate:
        return gate.ask("Where is Lagos?")


def scripted(name: str, *people: int) -> Scripted:
    """Its draft is the first; samples say the others in turn."""

    def answers(effect: Generate, place: int) -> str:
        return json.dumps({"city": "Lagos", "people": people[0 if effect.part_of is None else 1 + place]})

    return Scripted(name, answers)


@pytest.mark.parametrize("answer_at", [0.2, 1.0], ids=["answered", "withheld"])
def test_the_fields_of_a_decision_come_from_its_own_tape(answer_at: float) -> None:
    made = decided(answer_at, scripted("main", 15, 15, 15, 14, 15, 13))
    assert made.answered is (answer_at < 1)
    city, people = made.fields()
    assert (city.agreement, people.agreement) == (1.0, 0.6)
    assert people.value == 15
    assert people.p == pytest.approx(4 / 7)
    assert people.logprob_sum == -0.1, "of the one token the scripted upstream has for all"


def test_where_another_upstream_wrote_it_its_own_samples_are_taken() -> None:
    made = decided(0.8, scripted("small", 1, 2, 3, 4, 5, 6), scripted("large", 15, 15, 15, 15, 15, 15))
    assert made.outcome.upstream == "large"
    assert [each.agreement for each in made.fields()] == [1.0, 1.0]


def test_a_decision_is_told_by_a_fitted_calibrator_too(fitted: LogisticCalibrator) -> None:
    made = decided(0.2, scripted("main", 15, 15, 15, 14, 15, 13))
    assert all(each.calibrated for each in made.fields(fitted))


def test_a_judged_answer_brings_its_samples() -> None:
    with gate_over(0.2, scripted("small", 1)) as gate:
        made = gate.judge("Where is Lagos?", DRAFT, samples=SAMPLES)
    assert [each.agreement for each in made.fields()] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


def entry(kind: str, to: str, *texts: str, family: str = "") -> TapeEntry:
    generations = Generations(tuple(map(Generation, texts))) if kind == "generate" else None
    return TapeEntry("k", kind, Cost(), generations, family=family, to=to, n=max(1, len(texts)))


def test_what_was_drawn_beside_it_is_told_from_votes_and_from_other_rounds() -> None:
    first, second = '{"a": 1}', '{"a": 2}'
    tape = [
        entry("generate", "main", first),
        entry("generate", "main", first, second, family="closed"),
        entry("retrieve", "docs"),
        entry("generate", "main", second),
        entry("generate", "main", "A", "B", "A", family="votes"),
        entry("generate", "judge", first, first, family="judge"),
        entry("generate", "main", second, second, "no", family="read"),
        entry("retrieve", "docs"),
        entry("generate", "main", first, first, first, first, family="later"),
    ]

    def beside(text: str) -> list[str]:
        return [choice.text for choice in drawn_beside(Generation(text), tape)]

    assert beside(second) == [second, second, "no"]
    assert drawn_beside(tape[0].generations.choices[0], tape) == tape[1].generations.choices  # type: ignore[union-attr]
    assert beside("never said") == []
    assert drawn_beside(Generation(first), tape[:1]) == ()
    assert drawn_beside(Generation(first), ()) == ()


def test_log_probabilities_are_taken_as_gate_judge_takes_them() -> None:
    [plain] = field_confidence('{"a": 1}', logprobs=[-1, -2])
    assert (plain.pointer, plain.logprob_sum) == ("/a", None), "whose they are cannot be told"
    listed = [{"token": text, "logprob": -0.5} for text in ('{"a":', " ", "1", "}")]
    [told] = field_confidence('{"a": 1}', logprobs={"content": listed})
    assert told.logprob_sum == -0.5
    with pytest.raises(TypeError, match=r"logprobs\[0\]: a number was expected"):
        field_confidence('{"a": 1}', logprobs=["-1"])
