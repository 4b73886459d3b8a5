"""The draft's text against the sampled texts: the worked value, unequal lengths, and what leaves it without one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Draft, Samples
from gate.ports import Evidence, Missing
from gate.signals.local_normalisation import TextProbabilityShare, local_share
from gate.types import Cost, Generation, TokenLogprob, ToolCall


def text(said: str, *logprobs: float) -> Generation:
    return Generation(said, tokens=tuple(TokenLogprob("x", logprob) for logprob in logprobs))


def share(draft: Generation, *samples: Generation) -> float | Missing:
    evidence = Evidence().having(Draft(Cost(), draft, "small")).having(Samples(Cost(), samples))
    return TextProbabilityShare().measure(evidence)


def test_the_worked_value() -> None:
    """Mean losses .10 (drawn twice) and .12 (once) over 50 tokens."""
    assert local_share([-5.0, -5.0, -6.0], [True, True, False]) == pytest.approx(0.84464, abs=1e-5)
    often, once = text("Paris", *[-0.10] * 50), text("Rome", *[-0.12] * 50)
    assert share(often, often, once, often) == pytest.approx(0.84464, abs=1e-5)
    assert share(once, often, once, often) == pytest.approx(1 - 0.84464, abs=1e-5)


def test_with_unequal_lengths_the_whole_sequence_counts() -> None:
    short, long = text("Paris", -1.0), text("Paris in France", -0.5, -0.5, -0.5)
    assert share(short, short, long) == pytest.approx(math.exp(-1) / (math.exp(-1) + math.exp(-1.5)))


def test_a_draft_that_was_never_sampled_has_no_share() -> None:
    assert share(text("Oslo", -0.1), text("Paris", -1.0), text("Rome", -1.0)) == 0.0


def test_texts_are_the_same_after_normalising() -> None:
    assert share(text("Paris", -0.1), text("the Paris.", -1.0), text("paris", -1.0)) == 1.0


def test_log_probabilities_far_below_zero_still_compare() -> None:
    assert local_share([-5000.0, -5001.0], [True, False]) == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize(
    ("draft", "samples", "reason"),
    [
        (text("Paris", -1.0), (text("Paris", -1.0), Generation("Paris")), "the upstream gave no log-probabilities"),
        (text("Paris", -1.0), (text("Paris"), text("Paris", -1.0)), "the upstream gave no log-probabilities"),
        (text("Paris", -1.0), (text("Paris", math.nan), text("Paris", -1.0)), "a log-probability is no finite number"),
        (text("Paris", -1.0), (text("Paris", -math.inf), text("Paris", -1.0)), "a log-probability is no finite number"),
        (text("Paris", -1.0), (), "no samples were drawn"),
        (text("Paris", -1.0), (text("Paris", -1.0),), "one sample has no spread"),
        (text(" ", -1.0), (text("Paris", -1.0),), "the draft says nothing"),
        (Generation("No.", refusal="No."), (text("Paris", -1.0),), "the draft says nothing"),
    ],
)
def test_what_is_missing_is_told_apart(draft: Generation, samples: tuple[Generation, ...], reason: str) -> None:
    said = share(draft, *samples)
    assert isinstance(said, Missing)
    assert said.reason.startswith(reason)


def test_tool_calls_are_compared_by_what_they_call() -> None:
    def call(city: str) -> Generation:
        call = ToolCall("1", "weather", f'{{"city": "{city}"}}')
        return Generation("", tokens=(TokenLogprob("x", -1.0),), tool_calls=(call,))

    assert share(call("Oslo"), call("Oslo"), call("Rome")) == pytest.approx(0.5)


DRAWN = st.lists(st.tuples(st.floats(-1e4, 0), st.booleans()), min_size=1, max_size=8)


@given(DRAWN)
def test_shares_add_up_and_the_order_of_the_samples_is_nothing(
    drawn: list[tuple[float, bool]],
) -> None:
    logprobs, same = zip(*drawn, strict=True)
    value = local_share(logprobs, same)
    assert 0.0 <= value <= 1.0
    assert value + local_share(logprobs, [not own for own in same]) == pytest.approx(1.0)
    turned = drawn[::-1]
    assert local_share(*zip(*turned, strict=True)) == pytest.approx(value)


@given(DRAWN, st.floats(0, 50))
def test_a_likelier_text_has_no_smaller_share(drawn: list[tuple[float, bool]], gain: float) -> None:
    same = [own for _, own in drawn]
    before = local_share([logprob for logprob, _ in drawn], same)
    after = local_share([logprob + gain if own else logprob for logprob, own in drawn], same)
    assert after >= before - 1e-12
