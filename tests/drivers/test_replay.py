"""Replaying a recording: what it can judge, and what it must not guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ReplayDriver
from gate.drivers.replay import cut_by_budget
from gate.drivers.world import tape_entry
from gate.effects import Draws, Generate, HandOver, ReadStates, Reply, generate, hand_over
from gate.errors import ReplayGap, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price
from gate.traces import STATES_NOT_KEPT, TapeEntry
from gate.types import Action, Budget, Cost, Generation, Generations, Question, TokenLogprob, Usage
from tests.drivers.running import ASKED, MESSAGES, run
from tests.hidden_states.blocks import states
from tests.scripted import Scripted, always, plan_over, world_of


def test_a_replay_judges_a_stricter_policy_and_says_when_it_cannot() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    _, recording = run(world_of(upstreams), answer(plan_over(upstreams), ASKED), threaded=True)
    stricter = ReplayDriver(recording.tape).run(answer(plan_over(upstreams, answer_at=0.99), ASKED), Recording())
    assert stricter.action is Action.ABSTAIN
    with pytest.raises(ReplayGap):
        ReplayDriver(recording.tape).run(
            answer(plan_over(upstreams), Question.from_text("Where is Paris?")), Recording()
        )


def test_a_hand_over_that_was_not_recorded_is_made_to_nobody_and_bears_on_nothing() -> None:
    asked = HandOver("desk", MESSAGES, "uncertain")
    reply = ReplayDriver(()).run(hand_over(asked), again := Recording())
    assert reply == Reply("", Cost())
    assert [(entry.kind, entry.reference) for entry in again.tape] == [("handover", "")]
    failed = tape_entry(asked, Cost(seconds=1), error=UpstreamTimeout("desk", "did not answer in time"))
    with pytest.raises(UpstreamTimeout, match="'desk': did not answer in time") as caught:
        ReplayDriver([failed]).run(hand_over(asked), Recording())
    assert caught.value.cost == Cost(seconds=1)


def recorded(length: int, *, cap: int | None, finish: str = "stop", tokens: bool = True) -> tuple[Generate, TapeEntry]:
    asked = Generate("small", MESSAGES, cap=cap)
    listed = tuple(TokenLogprob("x", -0.1) for _ in range(length)) if tokens else None
    said = Generations((Generation("x" * length, finish, listed),), Usage(1, length))
    return asked, tape_entry(asked, Cost(calls=1), said)


@pytest.mark.parametrize(
    ("length", "cap", "finish", "now", "tells"),
    [
        (10, None, "stop", None, True),
        (10, 50, "stop", 12, True),
        (10, 50, "stop", None, True),
        (10, 50, "stop", 9, False),
        (10, None, "stop", 9, False),
        (50, 50, "length", 50, True),
        (50, 50, "length", 60, False),
        (50, 50, "length", None, False),
    ],
)
@pytest.mark.parametrize("tokens", [True, False], ids=["listed", "counted"])
def test_an_answer_stands_for_another_budget_unless_it_would_have_been_cut_elsewhere(
    length: int, cap: int | None, finish: str, now: int | None, tells: bool, tokens: bool
) -> None:
    asked, entry = recorded(length, cap=cap, finish=finish, tokens=tokens)
    flow = generate(replace(asked, cap=now))
    if tells:
        assert ReplayDriver([entry]).run(flow, Recording()).value == entry.generations
    else:
        with pytest.raises(ReplayGap, match="budget"):
            ReplayDriver([entry]).run(flow, Recording())


def test_what_the_caller_cut_stands_for_every_budget_above() -> None:
    asked, entry = recorded(20, cap=50, finish="length")
    asked = replace(asked, max_tokens=20)
    entry = tape_entry(asked, entry.cost, entry.generations)
    assert ReplayDriver([entry]).run(generate(replace(asked, cap=99)), Recording()).value == entry.generations


def test_a_trace_recorded_under_a_budget_of_tokens_is_judged_without_one() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    outcome, recording = run(
        world_of(upstreams), answer(plan_over(upstreams, budget=Budget(tokens=500)), ASKED), threaded=True
    )
    assert ReplayDriver(recording.tape).run(answer(plan_over(upstreams), ASKED), Recording()) == outcome


# --- fewer answers than were recorded ----------------------------------------------------------------------------

PRICES = {"small": Price(prompt=2.0, completion=10.0)}


def several(n: int, seed: int | None = 1) -> Generate:
    return Generate("small", MESSAGES, n=n, temperature=1.0, seed=seed)


def reply_of(asked: Generate, lengths: Sequence[int], *, tokens: bool = True, written: int | None = None) -> TapeEntry:
    """Answers "0", "1" … of so many tokens to a prompt of 7."""
    listed = [tuple(TokenLogprob("x", -0.1) for _ in range(length)) if tokens else None for length in lengths]
    choices = tuple(Generation(str(place), tokens=each) for place, each in enumerate(listed))
    usage = Usage(7, sum(lengths) if written is None else written)
    cost = Cost(1, 7, usage.completion_tokens, 1.5, (7 * 2.0 + usage.completion_tokens * 10.0) / 1e6)
    return tape_entry(asked, cost, Generations(choices, usage, "small"))


def told(driver: ReplayDriver, asked: Generate) -> tuple[list[str], Cost]:
    reply = driver.run(generate(asked), Recording())
    return [choice.text for choice in reply.value.choices], reply.cost


@pytest.mark.parametrize(
    ("n", "lengths", "tokens", "written", "left"),
    [
        (3, [4, 2, 6, 1, 7], True, None, 12),  # as many as they have
        (3, [4, 2, 6, 1, 7], True, 40, 24),  # the server counts twice as many: in proportion
        (3, [4, 2, 6, 1, 7], False, 20, 12),  # nobody says how long each is: each a fifth
        (1, [4, 2], True, None, 4),
        (4, [0, 0, 0, 0, 0], True, 5, 4),
    ],
)
def test_fewer_answers_are_the_first_of_more_and_cost_what_they_would_have(
    n: int, lengths: list[int], tokens: bool, written: int | None, left: int
) -> None:
    entry = reply_of(several(len(lengths)), lengths, tokens=tokens, written=written)
    texts, cost = told(ReplayDriver([entry], PRICES), several(n))
    assert texts == [str(place) for place in range(n)]
    # the prompt is read once however many answers there are; of the time only the longer is known
    assert cost == Cost(1, 7, left, 1.5, pytest.approx((7 * 2.0 + left * 10.0) / 1e6))


def test_without_prices_nobody_knows_what_fewer_would_have_cost() -> None:
    entry = reply_of(several(5), [1] * 5)
    with pytest.raises(ReplayGap, match="no reply to a request for answers of 'small'"):
        told(ReplayDriver([entry]), several(3))
    assert told(ReplayDriver([entry], {}), several(3))[1].money == 0.0  # the price is known to be nothing


@pytest.mark.parametrize(
    "other",
    [several(6), several(3, seed=2), replace(several(3), temperature=0.5), replace(several(3), upstream="large"),
     replace(several(3), messages=MESSAGES * 2), replace(several(3), logprobs=0), replace(several(3), max_tokens=9)],
    ids=["more", "seed", "temperature", "upstream", "messages", "logprobs", "max_tokens"],
)  # fmt: skip
def test_more_or_other_answers_cannot_be_told(other: Generate) -> None:
    with pytest.raises(ReplayGap):
        told(ReplayDriver([reply_of(several(5), [1] * 5)], PRICES), other)


def test_the_very_request_goes_before_a_wider_one_and_the_narrowest_before_the_widest() -> None:
    tape = [reply_of(several(n), [n] * n) for n in (8, 3, 5)]
    assert told(ReplayDriver(tape, PRICES), several(3))[1].completion_tokens == 9
    assert told(ReplayDriver(tape, PRICES), several(4))[1].completion_tokens == 4 * 5
    assert told(ReplayDriver(tape, PRICES), several(2))[1].completion_tokens == 2 * 3


def test_each_reply_is_given_once_whole_or_in_part() -> None:
    tape = [reply_of(several(5, None), [1] * 5), reply_of(several(5, None), [2] * 5)]
    driver = ReplayDriver(tape, PRICES)
    costs = [told(driver, several(n, None))[1].completion_tokens for n in (3, 5)]
    assert costs == [3, 10]
    for n in (2, 5):
        with pytest.raises(ReplayGap):
            told(driver, several(n, None))
    driver = ReplayDriver(tape, PRICES)
    told(driver, several(5, None))
    assert told(driver, several(3, None))[1].completion_tokens == 6


def test_one_answer_is_told_from_several_where_samples_come_in_parts() -> None:
    """Seventeen of an upstream that gives eight at once are asked for as 8, 8 and 1; nine as 8 and 1."""
    tape = [reply_of(several(8, 1), [1] * 8), reply_of(several(8, 1001), [1] * 8), reply_of(several(1, 2001), [1])]
    driver = ReplayDriver(tape, PRICES)
    assert told(driver, several(8, 1))[0] == list("01234567")
    assert told(driver, several(1, 1001))[0] == ["0"]


def test_where_the_wider_request_failed_the_narrower_would_have_failed() -> None:
    error = UpstreamTimeout("small", "did not answer", status=504)
    driver = ReplayDriver([tape_entry(several(5), Cost(calls=3, seconds=9.0), error=error)], PRICES)
    with pytest.raises(UpstreamTimeout, match="did not answer") as raised:
        told(driver, several(3))
    assert raised.value.cost == Cost(calls=3, seconds=9.0)
    assert raised.value.status == 504


def test_an_upstream_that_gave_fewer_than_asked_gives_no_more_to_fewer() -> None:
    entry = reply_of(several(5), [1, 1])
    assert told(ReplayDriver([entry], PRICES), several(3))[0] == ["0", "1"]
    assert told(ReplayDriver([entry], PRICES), several(1))[0] == ["0"]


def drawing(n: int, seed: int | None = 1) -> Generate:
    """One of the calls that together draw from the seed 1."""
    return replace(several(n, seed), part_of=Draws(1))


def numbered(asked: Generate, first: int, count: int, tokens: int = 2) -> TapeEntry:
    entry = reply_of(asked, [tokens] * count)
    assert entry.generations is not None
    choices = tuple(replace(c, text=str(first + place)) for place, c in enumerate(entry.generations.choices))
    return replace(entry, generations=replace(entry.generations, choices=choices))


def test_draws_are_told_in_other_parts_than_they_came_in_each_once() -> None:
    tape = [numbered(drawing(3), 0, 3), numbered(drawing(3, 1001), 3, 3), numbered(drawing(1, 2001), 6, 1)]
    driver = ReplayDriver(tape, PRICES)
    assert told(driver, drawing(2))[0] == ["0", "1"]
    texts, cost = told(driver, drawing(3, 9001))  # the end of the first reply and the beginning of the second
    assert texts == ["2", "3", "4"]
    assert cost == Cost(1, 7, 6, 1.5, pytest.approx((7 * 2.0 + 6 * 10.0) / 1e6))  # one prompt for all three
    assert told(driver, drawing(2, 9002))[0] == ["5", "6"]
    with pytest.raises(ReplayGap):
        told(driver, drawing(1, 9003))


def test_the_very_call_goes_before_any_other_draw() -> None:
    tape = [numbered(drawing(2), 0, 2), numbered(drawing(2, 1001), 2, 2)]
    driver = ReplayDriver(tape, PRICES)
    assert told(driver, drawing(2, 1001))[0] == ["2", "3"]
    assert told(driver, drawing(2, 5001))[0] == ["0", "1"]


def test_one_reply_of_the_whole_tells_all_parts_also_where_it_was_not_said_to_be_one() -> None:
    driver = ReplayDriver([numbered(several(5), 0, 5)], PRICES)
    assert [told(driver, drawing(n, seed))[0] for n, seed in ((2, 1), (2, 1001), (1, 2001))] == [
        ["0", "1"],
        ["2", "3"],
        ["4"],
    ]
    with pytest.raises(ReplayGap):  # what was given in part is not given whole
        told(driver, several(5))


def test_draws_that_would_not_have_been_made_alike_are_not_put_together() -> None:
    one, other = numbered(drawing(3), 0, 3), numbered(drawing(3, 1001), 3, 3)
    driver = ReplayDriver([one, replace(other, cap=50)], PRICES)
    assert told(driver, drawing(2))[0] == ["0", "1"]
    with pytest.raises(ReplayGap):
        told(driver, drawing(2, 9001))
    with pytest.raises(ReplayGap):
        told(ReplayDriver([one], PRICES), drawing(4, 9001))


def test_draws_that_failed_fail_in_parts_too() -> None:
    error = UpstreamTimeout("small", "did not answer", status=504)
    tape = [numbered(drawing(2), 0, 2), tape_entry(drawing(2, 1001), Cost(calls=1), error=error)]
    driver = ReplayDriver(tape, PRICES)
    assert told(driver, drawing(3, 9001))[0] == ["0", "1"]
    for seed in (9002, 9003):
        with pytest.raises(UpstreamTimeout):
            told(driver, drawing(1, seed))
    with pytest.raises(ReplayGap):
        told(driver, drawing(1, 9004))


@given(st.lists(st.integers(0, 30), min_size=2, max_size=8), st.data())
def test_fewer_never_cost_more(lengths: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(lengths) - 1))
    entry = reply_of(several(len(lengths)), lengths)
    cost = told(ReplayDriver([entry], PRICES), several(n))[1]
    assert cost.completion_tokens == sum(lengths[:n]) if any(lengths) else cost.completion_tokens == 0
    assert cost.money <= entry.cost.money + 1e-15


@pytest.mark.parametrize(
    ("finish", "cap", "asked", "length", "cut"),
    [
        ("length", 50, None, 50, True),
        ("length", 50, 60, 50, True),
        ("length", 50, 50, 50, False),  # it would have ended there anyway
        ("length", 50, 20, 20, False),
        ("length", 50, None, 30, False),  # the upstream's own limit
        ("length", None, None, 50, False),
        ("stop", 50, None, 50, False),
    ],
)
def test_whether_the_budget_cut_an_answer(
    finish: str, cap: int | None, asked: int | None, length: int, cut: bool
) -> None:
    for tokens in (True, False):
        _, entry = recorded(length, cap=cap, finish=finish, tokens=tokens)
        assert cut_by_budget(entry, asked) is cut


def test_an_answer_of_unknown_length_may_have_been_cut() -> None:
    _, entry = recorded(0, cap=50, finish="length", tokens=False)
    assert cut_by_budget(entry, None)


@pytest.mark.parametrize(
    ("held", "tells"),
    [
        (Generation("x", states=states()), True),
        (Generation("x", no_states="the server sent none"), True),
        (Generation("x", no_states=STATES_NOT_KEPT), False),
        (Generation("x"), False),
    ],
    ids=["there", "never came", "not kept", "not asked for"],
)
def test_what_internal_states_would_have_said_is_not_guessed(held: Generation, tells: bool) -> None:
    plain = Generate("small", MESSAGES)
    entry = tape_entry(plain, Cost(calls=1), Generations((held,)))
    assert ReplayDriver([entry]).run(generate(plain), Recording()).value.choices == (held,)
    reading = ReplayDriver([entry]).run
    if tells:
        assert reading(generate(replace(plain, states=ReadStates())), Recording()).value.choices == (held,)
    else:
        with pytest.raises(ReplayGap, match="--states"):
            reading(generate(replace(plain, states=ReadStates())), Recording())
