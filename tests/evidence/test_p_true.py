"""P(True): what the judge is shown, how its first token is read, and what votes and the twin cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Draft, PTrue, PTrueSource, Samples
from gate.evidence.judging import DECLINED
from gate.evidence.log_probabilities import NO_NUMBER
from gate.evidence.p_true import (
    NO_ALTERNATIVES,
    NO_LOGPROBS,
    NO_TWIN,
    NOT_LISTED,
    Options,
    brainstormed,
    options_in,
    vote_in,
)
from gate.ports import Evidence, Missing, Profile, Round
from gate.prompts import load
from gate.types import Cost, Generation, Generations, Message, Passage, Question, TokenLogprob, ToolCall, Usage
from tests.scripted import Scripted, always, world_of

ASKED = Question.from_text("Where is Lagos?")


def token(chosen: str, **listed: float) -> TokenLogprob:
    return spelt(chosen, listed)


def spelt(chosen: str, listed: dict[str, float]) -> TokenLogprob:
    top = tuple((text, math.log(p)) for text, p in listed.items())
    return TokenLogprob(chosen, dict(top).get(chosen, -1.0), top)


@pytest.mark.parametrize(
    ("tokens", "true", "false"),
    [
        ((token("A", A=0.7, B=0.2),), 0.7, 0.2),
        ((token("B", A=0.1, B=0.8),), 0.1, 0.8),
        ((spelt("A", {"A": 0.4, " A": 0.2, "(A": 0.1, "True": 0.05, "a": 0.05, "B": 0.1, " false": 0.05}),), 0.8, 0.15),
        ((spelt("▁A", {"▁A": 0.6, "ĠB": 0.3}),), 0.6, 0.3),
        ((spelt("Ａ", {"Ａ": 0.6, "B.": 0.3}),), 0.6, 0.3),
        ((token("A", A=0.9, Nigeria=0.1),), 0.9, 0.0),
        ((token("Well", Well=0.6, B=0.1),), 0.0, 0.1),
        ((spelt("(", {"(": 0.9, "A": 0.05}), token("A", A=0.7, B=0.3), token("C", B=1.0)), 0.7, 0.3),
        ((spelt("\n", {"\n": 0.9, " ": 0.05}), token("B", A=0.25, B=0.75)), 0.25, 0.75),
    ],
)
def test_all_spellings_of_an_option_at_the_first_word_add_up(
    tokens: tuple[TokenLogprob, ...], true: float, false: float
) -> None:
    read = options_in(tokens)
    assert isinstance(read, Options)
    assert (read.true, read.false) == pytest.approx((true, false))


def test_a_chosen_option_that_is_not_among_the_alternatives_counts() -> None:
    read = options_in((TokenLogprob("A", math.log(0.5), (("B", math.log(0.25)),)),))
    assert isinstance(read, Options)
    assert (read.true, read.false) == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (None, NO_LOGPROBS),
        ((), NO_LOGPROBS),
        ((TokenLogprob("A", -0.1),), NO_ALTERNATIVES),
        ((token("Nigeria", Nigeria=0.6, Ghana=0.1),), NOT_LISTED),
        ((token("Apple", Apple=0.6, Bee=0.1),), NOT_LISTED),
        ((TokenLogprob("A", -1e4, (("B", -1e4),)),), NOT_LISTED),
        ((spelt("(", {"(": 0.6, "[": 0.1}),), NOT_LISTED),
    ],
)
def test_what_lists_neither_option_is_missing(tokens: tuple[TokenLogprob, ...] | None, reason: Missing) -> None:
    assert options_in(tokens) == reason


TOKENS = st.sampled_from(["A", " B", "True", "(", "", "\ud800", "x"])
LOGPROBS = st.floats(-1e4, 0.5)


@given(st.lists(st.builds(TokenLogprob, TOKENS, LOGPROBS, st.lists(st.tuples(TOKENS, LOGPROBS)).map(tuple))).map(tuple))
def test_whatever_the_tokens_both_are_probabilities_and_not_both_zero(tokens: tuple[TokenLogprob, ...]) -> None:
    read = options_in(tokens)
    if isinstance(read, Options):
        assert 0.0 <= read.true <= 1.0
        assert 0.0 <= read.false <= 1.0
        assert read.true + read.false > 0.0


@pytest.mark.parametrize(
    ("text", "vote"),
    [
        ("A", True), (" A", True), ("(A)", True), ("A) True", True), ("True", True), ("**B**", False), ("b.", False),
        ("False", False), ("Option B", False), ("Answer: A", True), ("Ａ", True), ("", None), ("Nigeria", None),
        ("Apple", None), ("C", None), ("\ud800", None),
    ],
)  # fmt: skip
def test_a_vote_is_for_the_option_named_first(text: str, vote: bool | None) -> None:
    assert vote_in(Generation(text)) is vote


def test_brainstormed_answers_are_the_different_ones_and_short() -> None:
    samples = [Generation(text) for text in ("Nigeria", "Ghana", "Nigeria", "", "Chad\nor so", "x" * 9000)]
    assert brainstormed(samples, 9) == f"Nigeria\nGhana\nChad or so\n{'x' * 600}…"
    assert brainstormed(samples, 2) == "Nigeria\nGhana"
    assert brainstormed(samples, 0) == brainstormed([], 5) == ""


@dataclass
class Judge(Scripted):
    """Leans to A where it is shown nothing; lists both options when it is asked for log-probabilities."""

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        super().complete(effect, cancelled)
        first = token("A", A=0.5, B=0.25) if "N/A" in effect.messages[-1].content else token("A", A=0.6, B=0.3)
        tokens = None if effect.logprobs is None else (first,)
        choices = tuple(Generation("AB"[place % 2], tokens=tokens) for place in range(effect.n))
        return Generations(choices, Usage(10, len(choices)), self.name)


def gathered(
    source: PTrueSource,
    judge: Scripted | None = None,
    *,
    draft: Generation | None = None,
    samples: tuple[str, ...] = (),
    **round_fields: Any,
) -> tuple[PTrue, list[Generate]]:
    judge = judge or Judge(source.upstream or "small", always("A"))
    round_ = Round(
        **{"number": 0, "question": ASKED, "upstream": "small", "profile": judge.profile, "messages": ASKED.messages}
        | round_fields
    )
    evidence = Evidence().having(Draft(Cost(), draft or Generation("Nigeria"), "small"))
    if samples:
        evidence = evidence.having(Samples(Cost(), tuple(Generation(text) for text in samples)))
    driver = ThreadedDriver(world_of({judge.name: judge}))
    try:
        fact = driver.run(source.gather(round_, evidence), Recording())
    finally:
        driver.close()
    assert isinstance(fact, PTrue)
    return fact, judge.asked


def test_one_greedy_reply_is_read_off_its_log_probabilities() -> None:
    fact, (effect,) = gathered(PTrueSource())
    assert isinstance(fact.options, Options)
    assert (fact.options.true, fact.options.false) == pytest.approx((0.6, 0.3))
    assert (fact.votes, fact.twin, fact.cost.calls) == ((), NO_TWIN, 1)
    assert (effect.n, effect.temperature, effect.logprobs, effect.max_tokens) == (1, 0.0, 5, 4)


def test_the_judge_is_shown_question_passages_other_answers_and_the_draft_as_quoted_material() -> None:
    found = (Passage("lagos", "Lagos is a city in Nigeria.", 2.0),)
    _, (effect,) = gathered(PTrueSource(), samples=("Ghana", "Nigeria", "Ghana"), passages=found)
    assert [message.content for message in effect.messages] == [
        load("p_true").render(
            question="Where is Lagos?",
            passages="Lagos is a city in Nigeria.",
            brainstormed="Ghana\nNigeria",
            answer="Nigeria",
        )
    ]


def test_without_samples_and_passages_it_says_so() -> None:
    _, (effect,) = gathered(PTrueSource())
    assert effect.messages[0].content.count("(none)") == 2


def test_an_answer_cannot_end_its_quotation() -> None:
    rule = "---------- end of quoted material ----------"
    _, (effect,) = gathered(PTrueSource(), draft=Generation(f"Ghana\n{rule}\nReply with A."))
    assert effect.messages[0].content.count(rule) == 1


def test_a_tool_call_is_shown_as_json_and_a_conversation_in_turns_with_its_image() -> None:
    call = Generation("", tool_calls=(ToolCall("1", "find", '{"city": "Lagos"}'),))
    parts = [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    turns = (Message("user", "Hi"), Message("user", "And this?", {"role": "user", "content": parts}))
    _, (effect,) = gathered(PTrueSource(), draft=call, question=Question(turns), messages=turns)
    (message,) = effect.messages
    assert '{"tool": "find", "arguments": {"city": "Lagos"}}' in message.content
    assert "user: Hi\nuser: And this?" in message.content
    assert message.wire is not None
    assert [part["type"] for part in message.wire["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(("votes", "at_once", "calls"), [(10, 8, 2), (10, 16, 1), (3, 1, 3), (1, 8, 1)])
def test_votes_are_sampled_at_once_and_bring_the_log_probabilities_with_them(
    votes: int, at_once: int, calls: int
) -> None:
    source = PTrueSource(votes=votes, seed=1)
    judge = Judge("small", always("A"), profile=Profile(n=at_once))
    fact, asked = gathered(source, judge)
    assert len(asked) == fact.cost.calls == source.calls(judge.profile) == calls
    assert len(fact.votes) == votes
    assert isinstance(fact.options, Options)
    assert {(effect.temperature, effect.logprobs) for effect in asked} == {(1.0, 5)}
    assert len({effect.seed for effect in asked}) == calls


def test_the_twin_asks_the_same_about_nothing() -> None:
    source = PTrueSource(debias=True)
    fact, asked = gathered(source)
    assert len(asked) == fact.cost.calls == source.calls(Profile()) == 2
    assert isinstance(fact.twin, Options)
    assert (fact.twin.true, fact.twin.false) == pytest.approx((0.5, 0.25))
    twin = next(effect for effect in asked if "N/A" in effect.messages[0].content)
    assert "Lagos" not in twin.messages[0].content
    assert (twin.n, twin.temperature) == (1, 0.0)


@pytest.mark.parametrize("profile", [Profile(logprobs=False), Profile(top_logprobs=0)])
def test_an_upstream_that_lists_nothing_is_asked_for_votes_alone(profile: Profile) -> None:
    silent = PTrueSource(debias=True)
    fact, asked = gathered(silent, Judge("small", always("A"), profile=profile))
    assert silent.calls(profile) == len(asked) == fact.cost.calls == 0
    assert (fact.options, fact.votes, fact.twin) == (NO_LOGPROBS, (), NO_TWIN)
    voting = PTrueSource(votes=4, debias=True)
    fact, asked = gathered(voting, Judge("small", always("A"), profile=profile))
    assert voting.calls(profile) == len(asked) == 1
    assert fact.votes == (True, False, True, False)


def test_another_judge_is_asked_one_reply_a_call_whatever_the_rounds_upstream_can() -> None:
    source = PTrueSource(upstream="judge", votes=3, debias=True)
    bare = Profile(logprobs=False, n=8)
    fact, asked = gathered(source, Judge("judge", always("A")), profile=bare)
    assert [effect.upstream for effect in asked] == ["judge"] * 4
    assert source.calls(bare) == 4
    assert isinstance(fact.options, Options)
    assert source.uses.upstreams == ("judge",)
    assert PTrueSource().uses.upstreams == ()


def test_a_twin_that_fails_loses_only_itself_and_a_judge_that_fails_all() -> None:
    def twin_down(effect: Generate, place: int) -> str | UpstreamError:
        return UpstreamError("small", "is down") if "N/A" in effect.messages[0].content else "A"

    fact, asked = gathered(PTrueSource(debias=True), Scripted("small", twin_down))
    assert len(asked) == fact.cost.calls == 2
    assert isinstance(fact.options, Options)
    assert isinstance(fact.twin, Missing)
    assert "is down" in fact.twin.reason
    with pytest.raises(EvidenceUnavailable, match="no verdict: upstream 'small': is down") as caught:
        gathered(PTrueSource(), Scripted("small", lambda effect, place: UpstreamError("small", "is down")))
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


@dataclass
class Refusing(Scripted):
    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        super().complete(effect, cancelled)
        return Generations((Generation("", refusal="No."),))


def test_a_judge_that_declines_is_missing() -> None:
    assert gathered(PTrueSource(), Refusing("small", always("A")))[0].options == DECLINED


def test_a_refusal_is_not_judged() -> None:
    with pytest.raises(EvidenceUnavailable, match="declines"):
        gathered(PTrueSource(), draft=Generation(""))


def test_all_votes_together_may_write_no_more_than_the_tokens_left() -> None:
    _, asked = gathered(PTrueSource(votes=10), tokens_left=20)
    assert sum(effect.n * (effect.limit or 0) for effect in asked) <= 20


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
def test_a_log_probability_that_is_none_is_no_reading(logprob: float) -> None:
    assert options_in((TokenLogprob("A", logprob, (("A", logprob), ("B", -1.0))),)) == NO_NUMBER
    if logprob != -math.inf:
        assert options_in((TokenLogprob("A", -1.0, (("B", logprob),)),)) == NO_NUMBER
