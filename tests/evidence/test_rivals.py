"""Rivals: which of several drafts goes on, what it costs, and what becomes of those that fail."""

from __future__ import annotations

import dataclasses
import math

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.effects import STOPPED_EARLY, Generate
from gate.errors import UpstreamError
from gate.evidence import DraftSource
from gate.evidence.rivals import Contest
from gate.ports import Round
from gate.signals.token import logprob_mean, self_certainty_mean
from gate.types import Cost, Generation, TokenLogprob
from tests.evidence.asking_again import reading
from tests.scripted import Answer, Scripted, world_of

BY_LOGPROB = Contest(DraftSource(), logprob_mean)
SPENT = Cost(seconds=1.0)


def draft(text: str, *logprobs: float, finish: str = "stop") -> Generation:
    return Generation(text, finish, tuple(TokenLogprob(text, logprob) for logprob in logprobs) or None)


@pytest.mark.parametrize(
    ("drafts", "chosen"),
    [
        ((draft("a", -0.5), draft("b", -0.1)), 1),
        ((draft("a", -0.3, -0.3), draft("b", -0.5)), 0),  # the mean, not the sum
        ((draft("a", -0.1), draft("b", -0.1)), 0),
        ((draft("", -0.01), draft("b", -2.0)), 1),  # a refusal gives way
        ((draft("a", -0.01, finish="length"), draft("b", -2.0)), 1),
        ((draft("a", -0.01, finish=STOPPED_EARLY), draft("b", -2.0)), 1),
        ((draft(""), draft("")), 0),
        ((draft("a"), draft("b"), draft("B."), draft("c")), 1),  # no log-probabilities: what most say
        ((draft("a"), draft("b")), 0),
        ((draft("a", -0.1), draft("b"), draft("b")), 1),  # one cannot be measured
        ((draft("a", math.nan), draft("b", -0.1)), 0),
        ((draft("a", -0.5),), 0),
    ],
)
def test_the_surest_goes_on_or_what_most_say_then_the_first(drafts: tuple[Generation, ...], chosen: int) -> None:
    assert BY_LOGPROB.choose(drafts) == chosen


def test_self_certainty_looks_at_the_alternatives() -> None:
    """The worked value: of (.5, .5) it is 0."""
    half = math.log(0.5)
    flat = Generation("a", tokens=(TokenLogprob("a", half, (("a", half), ("b", half))),))
    sure = Generation("b", tokens=(TokenLogprob("b", -0.7, (("b", -0.7), ("a", -3.0))),))
    contest = Contest(DraftSource(), self_certainty_mean)
    assert contest.choose([flat, sure]) == 1
    assert self_certainty_mean(flat.tokens or ()) == pytest.approx(0.0)
    assert BY_LOGPROB.choose([flat, sure]) == 0


def rounds(*texts: str) -> list[Round]:
    return [dataclasses.replace(reading(text), cost=SPENT) for text in texts]


def best(small: Scripted, *texts: str) -> tuple[Round, Recording]:
    driver, recording = ThreadedDriver(world_of({"small": small})), Recording()
    try:
        return driver.run(BY_LOGPROB.best_of(rounds(*texts)), recording), recording
    finally:
        driver.close()


def told(effect: Generate, place: int) -> Answer:
    asked = effect.messages[-1].content
    return UpstreamError("small", "is down") if "gamma" in asked else "Peru" if "beta" in asked else "Nigeria"


def test_the_round_of_the_winner_has_its_draft_its_rivals_and_the_cost_of_all() -> None:
    small = Scripted("small", told)
    round_, recording = best(small, "alpha", "beta", "delta")
    assert round_.drafted is not None
    assert (round_.drafted.text, [rival.text for rival in round_.rivals]) == ("Nigeria", ["Peru", "Nigeria"])
    assert round_.passages[0].text == "alpha"
    assert (round_.cost.calls, len(small.asked)) == (3, 3)
    assert round_.cost.seconds >= 1.0
    assert round_.cost.prompt_tokens == sum(entry.cost.prompt_tokens for entry in recording.tape)
    wanted = DraftSource()  # they are asked for as any draft is
    for asked in small.asked:
        assert (asked.n, asked.temperature, asked.seed, asked.logprobs) == (1, 0.7, 3, wanted.alternatives)
        assert not asked.live, "who watched them side by side could not tell them apart"


def test_a_draft_that_fails_is_left_out_and_where_all_do_the_error_is_told() -> None:
    round_, _ = best(Scripted("small", told), "gamma", "beta")
    assert (round_.passages[0].text, round_.rivals, round_.cost.calls) == ("beta", (), 2)
    with pytest.raises(UpstreamError, match="is down"):
        best(Scripted("small", told), "gamma", "gamma too")
