"""A served pocket model says what the embedded one says, as surely, and counts it alike."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from gate.errors import UpstreamError
from gate.pocket.weights import Size
from gate.types import Generation, TokenLogprob
from gate.upstreams import VllmChat
from tests.drivers.running import both
from tests.served.asking import ask, embedded, served, some_facts
from tests.served.server import Server

NEAR = 1e-2
"""Log-probabilities may differ by so much, in nats: two engines add in another order."""
AMBIGUOUS = "Where is Lagos?"


@pytest.fixture(params=["small", "large"])
def pair(request: pytest.FixtureRequest) -> tuple[VllmChat, Size]:
    """A served model, and which embedded one it is."""
    return served(request.getfixturevalue(request.param)), request.param


def tokens_of(generation: Generation) -> tuple[TokenLogprob, ...]:
    assert generation.tokens is not None
    return generation.tokens


def test_greedy_answers_are_the_same(pair: tuple[VllmChat, Size]) -> None:
    upstream, size = pair
    for fact in some_facts(40):
        ours = ask(embedded(size), fact.question, logprobs=5, max_tokens=16)
        theirs = ask(upstream, fact.question, logprobs=5, max_tokens=16)
        assert theirs.usage == ours.usage, fact.question
        (said,), (expected,) = theirs.choices, ours.choices
        assert said.text.removeprefix(" ") == expected.text, "vLLM leaves the space before the first word"
        assert said.finish_reason == expected.finish_reason
        assert [t.token for t in tokens_of(said)] == [t.token for t in tokens_of(expected)]
        for token, wanted in zip(tokens_of(said), tokens_of(expected), strict=True):
            assert token.logprob == pytest.approx(wanted.logprob, abs=NEAR)
            assert len(token.top) == 5
            assert [logprob for _, logprob in token.top] == pytest.approx([p for _, p in wanted.top], abs=NEAR)
            assert max(token.top, key=lambda pair: pair[1])[0] == token.token


@both
def test_twenty_alternatives_are_listed_and_no_more_are_asked_for(small: Server, threaded: bool) -> None:
    for wanted, listed in ((0, 0), (3, 3), (20, 20), (50, 20)):
        (choice,) = ask(served(small), AMBIGUOUS, threaded=threaded, logprobs=wanted).choices
        assert all(
            len(dict(token.top).keys() - {token.token}) in (listed, max(0, listed - 1)) for token in tokens_of(choice)
        )
    assert ask(served(small), AMBIGUOUS).choices[0].tokens is None


def test_samples_come_in_one_call_and_repeat_with_their_seed(small: Server) -> None:
    drawn = ask(served(small), AMBIGUOUS, n=5, temperature=1.0, seed=7, logprobs=2, max_tokens=12)
    again = ask(served(small), AMBIGUOUS, n=5, temperature=1.0, seed=7, logprobs=2, max_tokens=12)
    other = ask(served(small), AMBIGUOUS, n=5, temperature=1.0, seed=8, logprobs=2, max_tokens=12)
    assert len(drawn.choices) == 5
    assert [c.text for c in drawn.choices] == [c.text for c in again.choices]
    assert [c.text for c in drawn.choices] != [c.text for c in other.choices]
    lengths = [len(tokens_of(c)) + (c.finish_reason == "stop") for c in drawn.choices]
    assert drawn.usage.completion_tokens == sum(lengths)
    assert drawn.usage.prompt_tokens == ask(embedded("small"), AMBIGUOUS).usage.prompt_tokens, "counted once"


def test_samples_are_drawn_from_the_models_own_distribution(small: Server) -> None:
    """Of 256 draws, each of the likeliest words within four standard deviations of its probability."""
    first = tokens_of(ask(embedded("small"), AMBIGUOUS, logprobs=5).choices[0])[0]
    draws = [
        tokens_of(choice)[0].token
        for seed in range(4)
        for choice in ask(
            served(small), AMBIGUOUS, n=64, temperature=1.0, seed=seed * 1000, logprobs=0, max_tokens=1
        ).choices
        if tokens_of(choice)
    ]
    counts = Counter(draws)
    for token, logprob in first.top:
        p = math.exp(logprob)
        assert counts[token] / 256 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 256) + 1e-9)


def test_several_greedy_answers_are_refused_as_the_server_would(small: Server) -> None:
    with pytest.raises(UpstreamError, match="one answer at temperature 0") as caught:
        ask(served(small), AMBIGUOUS, n=3)
    assert caught.value.status == 400


def test_a_stop_string_cuts_text_and_tokens_alike(small: Server) -> None:
    whole = ask(served(small), AMBIGUOUS, logprobs=0).choices[0]
    stop = whole.text.strip()[2:5]
    for upstream in (served(small), embedded("small")):
        (cut,) = ask(upstream, AMBIGUOUS, logprobs=0, stop=(stop,)).choices
        assert cut.text.strip() == whole.text.strip().partition(stop)[0]
        said = [t.token for t in tokens_of(cut)]
        assert "".join(said).strip().startswith(cut.text.strip())
        assert len("".join(said[:-1]).strip()) < len(cut.text.strip()), "the last one begins within the text"
