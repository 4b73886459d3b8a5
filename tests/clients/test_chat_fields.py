from __future__ import annotations

import copy
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

from gate.clients.chat_fields import draft_fields, evidence_fields, plain_json, wanted
from gate.effects import Generate
from gate.errors import RequestError
from gate.ports import Profile
from gate.types import Budget, Message

ASKED = [{"role": "user", "content": "Where is Lagos?"}]
NONE: frozenset[str] = frozenset()


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": ASKED, **fields}


def effect(**more: Any) -> Generate:
    return Generate("mine", (Message("user", "Where is Lagos?"),), **more)


def test_all_fields_of_the_caller_stay_but_what_is_for_gate() -> None:
    fields = asked(
        temperature=0.2,
        user="u",
        extra_headers={"x-team": "a"},
        extra_body={"top_k": 3, "gate": {"budget": {"seconds": 2.0}, "abstention": "error"}},
        stream=True,
        stream_options={"include_usage": True},
    )
    before = copy.deepcopy(fields)
    made = wanted(fields)
    assert made.fields == asked(temperature=0.2, user="u", extra_headers={"x-team": "a"}, extra_body={"top_k": 3})
    assert made.request.budget == Budget(seconds=2.0)
    assert (made.request.abstention, made.request.stream, made.request.include_usage) == ("error", True, True)
    assert dict(made.request.question.options) == {"temperature": 0.2, "user": "u", "top_k": 3}
    assert fields == before


def test_messages_may_come_once_only_and_be_the_librarys_own() -> None:
    tool = ChatCompletionMessage.model_validate({"role": "assistant", "content": "Nigeria."})
    made = wanted(asked(messages=iter([*ASKED, tool, *ASKED])))
    assert made.fields["messages"] == [*ASKED, tool, *ASKED]
    assert [message.role for message in made.request.question.messages] == ["user", "assistant", "user"]
    assert plain_json({"tools": ({"a": tool},)}) == {"tools": [{"a": {"role": "assistant", "content": "Nigeria."}}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"n": 9}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"extra_body": {"gate": {"policy": "strict"}}}, "gate.policy"),
        ({"extra_body": {"gate": {"streaming": "prefix"}}}, "gate.streaming"),
        ({"extra_body": {"gate": {"budgt": {}}}}, "gate.budgt"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_answered_is_told_before_anything_is_asked(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        wanted(asked(**fields))
    assert caught.value.param == param


def test_a_draft_is_asked_for_its_log_probabilities() -> None:
    profile = Profile(top_logprobs=5)
    assert draft_fields(wanted(asked()), profile, NONE) == asked(logprobs=True, top_logprobs=5)
    assert draft_fields(wanted(asked()), profile, frozenset({"top_logprobs"})) == asked(logprobs=True)
    assert draft_fields(wanted(asked()), profile, frozenset({"logprobs"})) == asked()
    assert draft_fields(wanted(asked()), Profile(logprobs=False), NONE) == asked()


def test_what_the_caller_asked_of_them_stays() -> None:
    theirs = asked(logprobs=True, top_logprobs=2)
    assert draft_fields(wanted(theirs), Profile(), NONE)["top_logprobs"] == 5
    assert draft_fields(wanted(theirs), Profile(), frozenset({"top_logprobs"})) == theirs
    assert draft_fields(wanted(theirs), Profile(), frozenset({"logprobs"})) == theirs
    most = asked(logprobs=True, top_logprobs=20)
    assert draft_fields(wanted(most), Profile(), NONE) == most


def test_evidence_is_asked_by_the_client_in_gates_own_words() -> None:
    made = wanted(asked(temperature=0.0, tools=[{"type": "function"}], timeout=3, extra_headers={"x": "1"}))
    request = effect(n=3, temperature=1.0, seed=7, logprobs=4, extra={"tools": [{"type": "function"}], "top_k": 3})
    assert evidence_fields(made, request, NONE) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Where is Lagos?"}],
        "n": 3,
        "temperature": 1.0,
        "seed": 7,
        "logprobs": True,
        "top_logprobs": 4,
        "timeout": 3,
        "extra_headers": {"x": "1"},
        "extra_body": {"tools": [{"type": "function"}], "top_k": 3},
    }
    less = evidence_fields(made, request, frozenset({"n", "seed", "logprobs"}))
    assert not less.keys() & {"n", "seed", "logprobs", "top_logprobs"}


def test_a_limit_goes_by_the_name_the_server_knows() -> None:
    request = effect(max_tokens=9)
    assert evidence_fields(wanted(asked(max_tokens=9)), request, NONE)["max_tokens"] == 9
    newer = evidence_fields(wanted(asked(max_completion_tokens=9)), request, NONE)
    assert (newer["max_completion_tokens"], "max_tokens" in newer) == (9, False)
    told = evidence_fields(wanted(asked()), effect(cap=5), frozenset({"max_tokens"}))
    assert (told["max_completion_tokens"], "max_tokens" in told) == (5, False)


def test_evidence_is_no_repetition_of_the_draft() -> None:
    made = wanted(asked(extra_headers={"Idempotency-Key": "k", "x": "1"}))
    assert evidence_fields(made, effect(), NONE)["extra_headers"] == {"x": "1"}
    assert made.fields["extra_headers"] == {"Idempotency-Key": "k", "x": "1"}
