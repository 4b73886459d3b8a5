"""What a round asks of an upstream: the caller's fields, gate's own, and the policy's caps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import STOPPED_EARLY, Generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import cut_short, put_otherwise, refused, request, stopped_early
from gate.ports import Profile, Round
from gate.types import Generation, Message, Question, TokenLogprob, ToolCall

MESSAGES = (Message("system", "Be brief."), Message("user", "Where is Lagos?"))
OURS = ("model", "messages", "n", "stream", "stream_options", "logprobs", "top_logprobs", "gate")
NAMED = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed")
ANY = Profile()


def asked(
    options: dict[str, Any],
    profile: Profile = ANY,
    *,
    n: int = 1,
    tokens_left: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    alternatives: int = 0,
) -> Generate:
    round_ = Round(0, Question(MESSAGES, options), "small", profile, MESSAGES, tokens_left=tokens_left)
    how: dict[str, Any] = {"temperature": temperature, "seed": seed, "alternatives": alternatives}
    return request(round_, n=n, **how, drafting=True)


def test_a_question_without_fields_adds_none() -> None:
    assert asked({}) == Generate("small", MESSAGES, logprobs=0)


def test_the_prompt_of_the_round_is_sent_not_the_question() -> None:
    prompt = (Message("user", "Read this. Where is Lagos?"),)
    round_ = Round(1, Question(MESSAGES), "large", Profile(), prompt)
    made = request(round_, n=2, temperature=0.5, seed=None, alternatives=0)
    assert (made.upstream, made.messages, made.n, made.temperature) == ("large", prompt, 2, 0.5)


def test_the_callers_fields_are_kept() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    made = asked({"top_p": 0.9, "max_tokens": 20, "stop": ["\n", "."], "tools": tools, "user": "ann"})
    assert (made.top_p, made.max_tokens, made.stop) == (0.9, 20, ("\n", "."))
    assert made.extra == {"tools": tools, "user": "ann"}


@pytest.mark.parametrize(("stop", "sent"), [("END", ("END",)), (["a", "b"], ("a", "b")), (None, ()), ([], ())])
def test_stop_is_one_text_or_several(stop: object, sent: tuple[str, ...]) -> None:
    assert asked({"stop": stop}).stop == sent


def test_temperature_and_seed_are_the_sources_own() -> None:
    made = asked({"temperature": 0.1, "seed": 7, "n": 9}, temperature=1.0, seed=3, n=4)
    assert (made.temperature, made.seed, made.n) == (1.0, 3, 4)
    assert not made.seed_is_callers


def test_a_seed_the_caller_gave_is_marked_as_such() -> None:
    assert asked({"seed": 7}, seed=7).seed_is_callers
    assert not asked({"seed": 7}, seed=8).seed_is_callers
    assert not asked({}).seed_is_callers


@given(
    st.dictionaries(st.sampled_from((*OURS, "tools", "response_format", "user")) | st.text(max_size=8), st.integers())
)
def test_fields_gate_sets_itself_never_pass_through_and_all_others_do(options: dict[str, int]) -> None:
    options = {key: value for key, value in options.items() if key not in NAMED}
    assert asked(options).extra == {key: value for key, value in options.items() if key not in OURS}


@pytest.mark.parametrize(
    ("profile", "wished", "logprobs"),
    [
        (Profile(top_logprobs=5), 20, 5),
        (Profile(top_logprobs=20), 5, 5),
        (Profile(top_logprobs=0), 5, 0),
        (Profile(top_logprobs=5), 0, 0),
        (Profile(logprobs=False, top_logprobs=5), 5, None),
    ],
)
def test_alternatives_are_cut_to_what_the_upstream_lists(profile: Profile, wished: int, logprobs: int | None) -> None:
    assert asked({}, profile, alternatives=wished).logprobs == logprobs


def test_a_seed_is_sent_only_where_it_is_taken() -> None:
    assert asked({}, Profile(seed=True), seed=5).seed == 5
    assert asked({}, Profile(seed=False), seed=5).seed is None


@pytest.mark.parametrize(
    ("options", "tokens_left", "n", "most"),
    [
        ({}, None, 5, None),
        ({"max_tokens": 30}, None, 5, 30),
        ({"max_tokens": 30, "max_completion_tokens": 12}, None, 1, 12),
        ({}, 100, 5, 20),
        ({"max_tokens": 30}, 100, 5, 20),
        ({"max_tokens": 10}, 100, 5, 10),
        ({}, 103, 5, 20),
        ({}, 3, 5, 1),
    ],
)
def test_what_is_left_of_the_tokens_is_shared_among_the_answers(
    options: dict[str, Any], tokens_left: int | None, n: int, most: int | None
) -> None:
    made = asked(options, n=n, tokens_left=tokens_left)
    assert made.limit == most
    assert made.max_tokens == (options.get("max_completion_tokens") or options.get("max_tokens"))


CALL = ToolCall("1", "f", "{}")


@pytest.mark.parametrize(
    ("generation", "declined"),
    [
        (Generation("Nigeria"), False),
        (Generation(""), True),
        (Generation(" \n\t"), True),
        (Generation("", tool_calls=(CALL,)), False),
        (Generation("", refusal="I cannot help with that."), True),
        (Generation("Nigeria", refusal="no"), True),
        (Generation("", tokens=(TokenLogprob("", -0.1),)), True),
        (Generation("🦁"), False),
    ],
)
def test_a_model_declined_when_it_says_so_or_says_nothing(generation: Generation, declined: bool) -> None:
    assert refused(generation) is declined


def test_the_last_message_of_a_user_is_put_otherwise_and_no_other() -> None:
    turns = (*MESSAGES, Message("assistant", "Nigeria."), Message("user", "And Lomé?"), Message("assistant", "Hm"))
    changed = put_otherwise(turns, str.upper)
    assert [message.content for message in changed] == [
        "Be brief.", "Where is Lagos?", "Nigeria.", "AND LOMÉ?", "Hm",
    ]  # fmt: skip
    with pytest.raises(EvidenceUnavailable, match="no message of a user"):
        put_otherwise(MESSAGES[:1], str.upper)


def test_an_answer_is_cut_short_where_it_reached_its_length() -> None:
    assert cut_short(Generation("Nig", "length"))
    assert not cut_short(Generation("Nigeria"))


def test_an_answer_that_gate_stopped_is_cut_short_too_and_known_as_such() -> None:
    assert cut_short(Generation("Nig", STOPPED_EARLY))
    assert stopped_early(Generation("Nig", STOPPED_EARLY))
    assert not stopped_early(Generation("Nig", "length"))


def test_what_callers_say_of_sampling_holds_for_the_draft_alone() -> None:
    """Evidence that callers could narrow would agree with itself whatever is true."""
    shaping = {"top_p": 1e-6, "top_k": 1, "min_p": 0.99, "logit_bias": {"7": 100}, "presence_penalty": -2.0}
    options = {**shaping, "tools": [], "max_tokens": 9}
    round_ = Round(0, Question(MESSAGES, options), "small", ANY, MESSAGES)
    how: dict[str, Any] = {"n": 1, "temperature": 1.0, "seed": None, "alternatives": 0}
    draft, evidence = request(round_, **how, drafting=True), request(round_, **how)
    assert draft.top_p == pytest.approx(1e-6)
    assert draft.extra == {name: value for name, value in shaping.items() if name != "top_p"} | {"tools": []}
    assert (evidence.top_p, evidence.extra, evidence.max_tokens) == (None, {"tools": []}, 9)
