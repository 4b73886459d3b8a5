"""Samples: how they are asked for, what is kept when calls fail, and what they may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.drivers import Recording, ReplayDriver, ThreadedDriver
from gate.effects import Flow, Generate, Reply, Together
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.evidence import Draft, Samples, SamplesSource
from gate.evidence.samples import all_decline, asked_for, draft_and_samples, samples_of, spread
from gate.ports import Evidence, Missing, Price, Profile, Round
from gate.rules.sampling_stop import SamplingStop
from gate.types import Cost, Generation, Generations, Question, ToolCall
from tests.scripted import Scripted, world_of

Said = list[str] | UpstreamError
ASKED = Question.from_text("Where is Lagos?")
EACH = Cost(calls=1, prompt_tokens=10, completion_tokens=4, seconds=0.5, money=0.01)


def opening(n: int = 8, *, seed: bool = True, calls_left: int | None = None, tokens_left: int | None = None) -> Round:
    profile = Profile(n=n, seed=seed)
    return Round(0, ASKED, "small", profile, ASKED.messages, calls_left=calls_left, tokens_left=tokens_left)


def gathered(source: SamplesSource, round_: Round, say: Callable[[Generate], Said]) -> tuple[Samples, list[Generate]]:
    """The samples and all that was asked for; ``asked`` is filled even when gathering fails."""
    asked: list[Generate] = []
    fact = perform(source.gather(round_, Evidence()), say, asked)
    assert isinstance(fact, Samples)
    return fact, asked


def perform(flow: Flow[Any], say: Callable[[Generate], Said], asked: list[Generate]) -> Any:
    reply: Any = None
    error: UpstreamError | None = None
    while True:
        try:
            effect = flow.throw(error) if error else flow.send(reply)
        except StopIteration as stop:
            return stop.value
        reply, error = None, None
        if isinstance(effect, Together):
            reply = tuple(perform(each, say, asked) for each in effect.flows)
            continue
        assert isinstance(effect, Generate)
        asked.append(effect)
        said = say(effect)
        if isinstance(said, UpstreamError):
            error = said
            error.cost = EACH
        else:
            reply = Reply(Generations(tuple(Generation(text) for text in said)), EACH)


def down() -> UpstreamError:
    return UpstreamError("small", "is down", status=503)


def obedient(effect: Generate) -> Said:
    return ["Nigeria"] * effect.n


def in_turn(*said: Said) -> Callable[[Generate], Said]:
    replies: Iterator[Said] = iter(said)
    return lambda effect: next(replies)


@pytest.mark.parametrize(
    ("n", "at_once", "batches"),
    [
        (5, 8, [5]),
        (5, 5, [5]),
        (5, 4, [4, 1]),
        (5, 2, [2, 2, 1]),
        (3, 1, [1, 1, 1]),
        (2, 0, [1, 1]),
        (17, 8, [8, 8, 1]),
    ],
)
def test_samples_are_asked_for_in_as_few_calls_as_the_profile_allows(n: int, at_once: int, batches: list[int]) -> None:
    source = SamplesSource(n=n)
    drawn, asked = gathered(source, opening(at_once), obedient)
    assert [effect.n for effect in asked] == batches
    assert len(asked) == source.calls(Profile(n=at_once))
    assert len(drawn.generations) == n


def test_they_are_drawn_at_the_policys_temperature_with_log_probabilities_alone() -> None:
    _, (effect,) = gathered(SamplesSource(temperature=0.6), opening(), obedient)
    assert (effect.temperature, effect.logprobs, effect.messages) == (0.6, 0, ASKED.messages)


def test_no_two_batches_share_a_seed_and_another_run_has_the_same() -> None:
    source = SamplesSource(n=6, seed=11)
    runs = [gathered(source, opening(2), lambda effect: ["Nigeria"])[1] for _ in range(2)]
    seeds = [effect.seed for effect in runs[0]]
    assert [effect.n for effect in runs[0]] == [2, 2, 2, 1, 1, 1]
    assert seeds[0] == 11
    assert None not in seeds
    assert len(set(seeds)) == 6
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("seed", "takes"), [(None, True), (11, False)])
def test_no_seed_is_sent_without_one_or_to_an_upstream_that_takes_none(seed: int | None, takes: bool) -> None:
    _, asked = gathered(SamplesSource(n=4, seed=seed), opening(2, seed=takes), obedient)
    assert [effect.seed for effect in asked] == [None, None]


def test_an_upstream_that_answers_once_whatever_n_says_is_asked_for_the_rest_one_by_one() -> None:
    numbers = count()
    drawn, asked = gathered(SamplesSource(n=4), opening(), lambda effect: [str(next(numbers))])
    assert [effect.n for effect in asked] == [4, 1, 1, 1]
    assert [generation.text for generation in drawn.generations] == ["0", "1", "2", "3"]


def test_topping_up_stops_where_the_calls_end() -> None:
    drawn, asked = gathered(SamplesSource(n=5), opening(calls_left=3), lambda effect: ["Nigeria"])
    assert [effect.n for effect in asked] == [5, 1, 1]
    assert len(drawn.generations) == 3


def test_more_answers_than_were_asked_for_are_left_out() -> None:
    drawn, _ = gathered(SamplesSource(n=3), opening(), lambda effect: ["a", "b", "c", "d"])
    assert [generation.text for generation in drawn.generations] == ["a", "b", "c"]


def test_what_came_is_kept_when_some_calls_fail() -> None:
    drawn, asked = gathered(SamplesSource(n=3), opening(1, calls_left=3), in_turn(["a"], down(), ["c"]))
    assert len(asked) == 3
    assert [generation.text for generation in drawn.generations] == ["a", "c"]


def test_a_call_that_failed_is_made_good_where_there_is_room() -> None:
    drawn, _ = gathered(SamplesSource(n=3), opening(1), in_turn(["a"], down(), ["c"], ["d"]))
    assert [generation.text for generation in drawn.generations] == ["a", "c", "d"]


def test_a_failure_while_topping_up_loses_nothing() -> None:
    drawn, _ = gathered(SamplesSource(n=3), opening(), in_turn(["a"], down(), ["c"]))
    assert [generation.text for generation in drawn.generations] == ["a", "c"]


def test_when_every_call_fails_the_cause_and_the_cost_are_told() -> None:
    asked: list[Generate] = []
    flow = SamplesSource(n=3).gather(opening(1), Evidence())
    with pytest.raises(EvidenceUnavailable, match=r"no sample could be drawn: upstream 'small': is down") as caught:
        perform(flow, lambda effect: down(), asked)
    assert len(asked) == 3
    assert caught.value.cost == Cost.together([EACH] * 3)


def test_a_time_out_is_a_failure_like_any_other() -> None:
    late = UpstreamTimeout("small", "did not answer in time")
    drawn, _ = gathered(SamplesSource(n=2), opening(1, calls_left=2), in_turn(late, ["b"]))
    assert len(drawn.generations) == 1


def test_calls_side_by_side_take_the_time_of_the_slowest_and_topping_up_comes_after() -> None:
    replies = in_turn(["a"], down(), ["c"], ["d"])
    drawn, _ = gathered(SamplesSource(n=3), opening(1), replies)
    cost = drawn.cost
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens, cost.seconds) == (4, 40, 16, 1.0)
    assert cost.money == pytest.approx(0.04)


ANSWERS = st.lists(st.integers(-1, 9), min_size=64, max_size=64)
"""How many answers each call brings; -1 stands for a failure."""


@given(n=st.integers(2, 12), at_once=st.integers(0, 9), spare=st.integers(0, 9), answers=ANSWERS)
def test_the_calls_left_are_a_hard_stop_whatever_the_upstream_does(
    n: int, at_once: int, spare: int, answers: list[int]
) -> None:
    source, brings, asked = SamplesSource(n=n), iter(answers), list[Generate]()
    left = source.calls(Profile(n=at_once)) + spare

    def say(effect: Generate) -> Said:
        number = next(brings)
        return down() if number < 0 else ["Nigeria"] * max(1, number)

    try:
        fact = perform(source.gather(opening(at_once, calls_left=left), Evidence()), say, asked)
    except EvidenceUnavailable:
        assert set(answers[: len(asked)]) == {-1}
    else:
        assert 1 <= len(fact.generations) <= n
        assert fact.cost.calls == len(asked)
    assert len(asked) <= left


@given(n=st.integers(2, 12), at_once=st.integers(1, 12), spare=st.integers(0, 500))
def test_all_calls_together_may_write_no_more_than_the_tokens_left(n: int, at_once: int, spare: int) -> None:
    left = n + spare
    _, asked = gathered(SamplesSource(n=n), opening(at_once, tokens_left=left), obedient)
    assert sum(effect.n * (effect.limit or 0) for effect in asked) <= left


@pytest.mark.parametrize("wrong", [{"n": 1}, {"n": 33}, {"temperature": 0}, {"temperature": 2.1}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamplesSource(**wrong)


def test_side_by_side_on_threads_the_order_is_that_of_the_batches_and_a_replay_repeats_it() -> None:
    upstream = Scripted("small", lambda effect, place: f"{effect.seed}/{place}", profile=Profile(n=2))
    driver, recording = ThreadedDriver(world_of({"small": upstream})), Recording()
    source, round_ = SamplesSource(n=5, seed=0), opening(2)
    drawn = driver.run(source.gather(round_, Evidence()), recording)
    driver.close()
    assert isinstance(drawn, Samples)
    assert [g.text for g in drawn.generations] == ["0/0", "0/1", "1000/0", "1000/1", "2000/0"]
    replayed = ReplayDriver(recording.tape).run(source.gather(round_, Evidence()), Recording())
    assert replayed == drawn
    assert len(upstream.asked) == 3


def test_whoever_needs_the_samples_is_told_why_there_are_none() -> None:
    lagos, togo = Generation("Lagos"), Generation("Togo")
    drafted = Evidence().having(Draft(Cost(), lagos, "small"))
    sampled = drafted.having(Samples(Cost(), (togo, lagos)))
    assert samples_of(sampled) == (togo, lagos)
    assert draft_and_samples(sampled) == (lagos, (togo, lagos))
    for evidence, why in ((drafted, "no samples were drawn"), (drafted.lacking(Samples, "is down"), "is down")):
        assert draft_and_samples(evidence) == Missing(why)
        with pytest.raises(EvidenceUnavailable, match=why):
            samples_of(evidence)
    assert draft_and_samples(Evidence()) == Missing("there is no draft")
    assert draft_and_samples(drafted.having(Samples(Cost(), ()))) == Missing("no samples were drawn")


def test_how_many_were_asked_for_is_kept_beside_those_that_came() -> None:
    drawn, _ = gathered(SamplesSource(n=3), opening(8, calls_left=1), lambda effect: ["Nigeria"])
    assert (len(drawn.generations), drawn.asked) == (1, 3)
    assert asked_for(Evidence().having(drawn)) == 3
    assert asked_for(Evidence()) == 0


def test_fewer_than_two_have_no_spread() -> None:
    assert spread(0) == Missing("no samples were drawn")
    assert spread(1) == Missing("one sample has no spread")
    assert spread(2) is None
    assert spread(2, declined=True) == Missing("every sample declines")


def test_samples_that_say_nothing_are_left_out() -> None:
    source = SamplesSource(n=4)
    drawn, _ = gathered(source, opening(), lambda effect: ["Nigeria", "", " \n", "Togo"])
    assert [generation.text for generation in drawn.generations] == ["Nigeria", "Togo"]
    assert drawn.asked == 4
    with pytest.raises(EvidenceUnavailable, match="the samples say nothing") as caught:
        gathered(source, opening(), lambda effect: [""] * 4)
    assert caught.value.cost == EACH


def test_refusals_and_tool_calls_are_kept() -> None:
    kept = (Generation("", refusal="no"), Generation("", tool_calls=(ToolCall("1", "pay", "{}"),)))
    flow = SamplesSource(n=3).gather(opening(), Evidence())
    together = next(flow)
    assert isinstance(together, Together)
    reply = Reply(Generations((*kept, Generation("", finish_reason="length"))), EACH)
    with pytest.raises(StopIteration) as stop:
        flow.send((reply,))
    assert stop.value.value.generations == kept
    assert all_decline(kept[:1])
    assert not all_decline(kept)


# --- as many as are needed ---------------------------------------------------------------------------------------

DRAFTED = Evidence().having(Draft(Cost(), Generation("Nigeria."), "small"))


def until_clear(source: SamplesSource, votes: str, round_: Round | None = None) -> tuple[Samples, list[Generate]]:
    """The samples, where the votes are "y" for the draft and "n" against it, and all that was asked for."""
    asked, turn = list[Generate](), iter(votes)

    def say(effect: Generate) -> Said:
        return [{"y": "the Nigeria", "n": "Togo"}[next(turn)] for _ in range(effect.n)]

    fact = perform(source.gather(round_ or opening(), DRAFTED), say, asked)
    assert isinstance(fact, Samples)
    return fact, asked


@pytest.mark.parametrize(
    ("stop", "votes", "batches"),
    [
        ("unlikely_to_change", "yyyyyyyyyy", [4]),  # P(share > 1/2) = .96875
        ("unlikely_to_change", "nnnnnnnnnn", [4]),
        ("unlikely_to_change", "yyynyyyyyy", [4, 2]),  # with five of ten it has half, however the others fall
        ("unlikely_to_change", "ynynynynyn", [4, 3, 2]),  # no look at fewer than three more could settle it
        ("can_no_longer_change", "yyyyyyyyyy", [5]),
        ("can_no_longer_change", "nnnnnnnnnn", [5, 2]),
        ("can_no_longer_change", "ynyyynnnnn", [5, 2, 2, 1]),
        ("none", "yyyyyyyyyy", [8, 2]),
    ],
)
def test_drawing_stops_when_the_votes_settle_it(stop: Any, votes: str, batches: list[int]) -> None:
    source = SamplesSource(n=10, stop=stop)
    drawn, asked = until_clear(source, votes)
    assert [effect.n for effect in asked] == batches
    assert (len(drawn.generations), drawn.asked) == (sum(batches), sum(batches))
    assert drawn.cost.calls == len(batches) <= source.calls(Profile())


@example(12, "unlikely_to_change", 0.5, 2, 2, "nyyynnnnnynnnnnn")  # batches of three, two a call
@given(
    st.integers(2, 16),
    st.sampled_from(["none", "can_no_longer_change", "unlikely_to_change"]),
    st.floats(0.1, 0.9),
    st.integers(1, 5),
    st.integers(1, 9),
    st.text("yn", min_size=16, max_size=16),
)
def test_it_stops_at_a_look_that_settles_it_and_keeps_to_the_calls_it_reckoned_with(
    n: int, stop: Any, share: float, batch: int, at_once: int, votes: str
) -> None:
    source = SamplesSource(n=n, stop=stop, share=share, batch=batch)
    drawn, asked = until_clear(source, votes, opening(at_once, calls_left=source.calls(Profile(n=at_once))))
    agreeing = votes[: drawn.asked].count("y")
    assert SamplingStop(stop, share).stops(agreeing, drawn.asked - agreeing, n - drawn.asked)
    assert drawn.asked == len(drawn.generations) == sum(effect.n for effect in asked)
    assert len(asked) <= source.calls(Profile(n=at_once))
    assert source.fewest <= drawn.asked <= n
    if "n" not in votes[:n]:
        assert drawn.asked == source.unanimous


def test_every_batch_has_a_seed_of_its_own_and_all_are_one_family() -> None:
    _, asked = until_clear(SamplesSource(n=10, seed=3, stop="unlikely_to_change"), "yn" * 5)
    assert len({effect.seed for effect in asked}) == len(asked) == 3
    assert {effect.part_of.seed for effect in asked if effect.part_of} == {3}


def test_a_batch_that_brings_nothing_is_the_last_and_what_came_is_kept() -> None:
    asked: list[Generate] = []
    source = SamplesSource(n=10, stop="unlikely_to_change")
    drawn = perform(source.gather(opening(), DRAFTED), in_turn(["Nigeria", "Togo"] * 2, down()), asked)
    assert (len(drawn.generations), drawn.asked, drawn.cost.calls) == (4, 7, 2)


def test_what_is_settled_is_what_is_spared_to_a_budget_of_tokens() -> None:
    left = 100
    drawn, asked = until_clear(SamplesSource(n=10, stop="unlikely_to_change"), "yn" * 5, opening(tokens_left=left))
    assert sum(effect.n * (effect.limit or 0) for effect in asked) <= left
    assert drawn.asked == 9


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("at_once", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("stop", ["can_no_longer_change", "unlikely_to_change"])
def test_stopping_early_is_told_from_a_recording_of_all(stop: Any, at_once: int, seed: int | None) -> None:
    said = count()
    upstream = Scripted("small", lambda effect, place: "ynnyynyynnyy"[next(said)], profile=Profile(n=at_once))
    drafted = Evidence().having(Draft(Cost(), Generation("y"), "small"))
    driver, recording = ThreadedDriver(world_of({"small": upstream})), Recording()
    whole = driver.run(SamplesSource(n=12, seed=seed).gather(opening(at_once), drafted), recording)
    driver.close()
    assert isinstance(whole, Samples)
    source = SamplesSource(n=12, seed=seed, stop=stop, share=0.7)
    told = ReplayDriver(recording.tape, {"small": Price(1.0, 2.0)}).run(
        source.gather(opening(at_once), drafted), Recording()
    )
    assert isinstance(told, Samples)
    assert 2 <= told.asked == len(told.generations) <= 12
    for text in "yn":  # any draw will do for any other, but none is given twice
        assert sum(g.text == text for g in told.generations) <= sum(g.text == text for g in whole.generations)
    assert told.cost.completion_tokens <= whole.cost.completion_tokens


def test_samples_of_a_later_tier_are_added_to_the_earlier_ones() -> None:
    first, _ = until_clear(SamplesSource(n=2, seed=1), "yn")
    asked: list[Generate] = []
    more = SamplesSource(n=3, before=2, seed=1).gather(opening(), DRAFTED.having(first))
    fact = perform(more, lambda effect: ["Togo"] * effect.n, asked)
    assert ([g.text for g in fact.generations], fact.asked) == (["the Nigeria", "Togo", *["Togo"] * 3], 5)
    assert fact.cost.calls == 1
    assert asked[0].seed not in (None, 1)
    assert SamplesSource(n=3, before=2).unanimous == 5
    alone = perform(more_of(3), lambda effect: ["Togo"] * effect.n, asked)
    assert alone.asked == 3  # the first ones could not be had


def more_of(n: int) -> Flow[Any]:
    return SamplesSource(n=n, before=2).gather(opening(), DRAFTED)
