from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ParsedChatCompletion
from pydantic import BaseModel

from gate.clients.chat_answers import chunks, judged_reply, mark, read_reply
from gate.clients.chat_fields import wanted
from gate.decorator.decided import Decided
from gate.errors import UpstreamError
from gate.traces import TraceRecord
from gate.types import Action, Generation, Outcome
from tests.answer_shapes.answers import CALL, CHAT, TOKEN, outcome_of

REPLY = ChatCompletion.model_validate({**CHAT, "choices": CHAT["choices"][:1]})
DRAFT = read_reply(REPLY, "mine").generation


class Place(BaseModel):
    country: str


def judged(outcome: Outcome) -> tuple[Outcome, TraceRecord]:
    return outcome, TraceRecord("1", "", "agreeing", "", False, outcome.steps, outcome=outcome)


def let_through() -> Outcome:
    return replace(outcome_of(DRAFT.text), generation=DRAFT)


def withheld(text: str = "I am not sure.") -> Outcome:
    outcome = outcome_of(text)
    return replace(outcome, action=Action.ABSTAIN, generation=None)


def answer(
    outcome: Outcome, reply: Any = REPLY, *, refusal_in: Any = "refusal", kind: Any = None, **fields: Any
) -> Any:
    request = wanted({"model": "m", "messages": [{"role": "user", "content": "?"}], **fields}).request
    return judged_reply(reply, [DRAFT], [judged(outcome)], request, refusal_in, kind)


def test_what_is_let_through_is_the_reply_itself() -> None:
    made = answer(let_through(), logprobs=True, top_logprobs=5)
    assert made == REPLY
    assert made.choices[0] == REPLY.choices[0]


def test_log_probabilities_are_shown_as_they_were_asked_for() -> None:
    assert answer(let_through()).choices[0].logprobs is None
    bare = answer(let_through(), logprobs=True).choices[0].logprobs
    assert [token.token for token in bare.content] == ["China"]
    assert bare.content[0].top_logprobs == []
    assert len(answer(let_through(), logprobs=True, top_logprobs=1).choices[0].logprobs.content[0].top_logprobs) == 1
    assert REPLY.choices[0].logprobs is not None  # the client's own object is left as it is


def test_another_models_answer_is_put_into_its_likeness() -> None:
    made = answer(outcome_of("Jiangsu, China.", CALL), logprobs=True)
    assert isinstance(made, ChatCompletion)
    assert (made.id, made.created, made.usage) == (REPLY.id, REPLY.created, REPLY.usage)
    [choice] = made.choices
    assert (choice.message.content, choice.finish_reason) == ("Jiangsu, China.", "tool_calls")
    assert (choice.message.tool_calls or [])[0].function.name == CALL.name
    assert choice.logprobs is not None
    assert read_reply(made, "mine").generation.tokens == (replace(TOKEN, top=()),)


@pytest.mark.parametrize(
    ("refusal_in", "content", "refusal"),
    [("refusal", None, "I am not sure."), ("content", "I am not sure.", None), ("both", *["I am not sure."] * 2)],
)
def test_what_is_withheld_is_nowhere_in_it(refusal_in: str, content: str | None, refusal: str | None) -> None:
    made = answer(withheld(), refusal_in=refusal_in)
    assert (made.choices[0].message.content, made.choices[0].message.refusal) == (content, refusal)
    assert made.choices[0].finish_reason == "stop"
    assert "China" not in made.model_dump_json()


def test_an_answer_is_parsed_into_the_type_that_was_asked_for() -> None:
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": "{}", "parsed": None}}
    like = ParsedChatCompletion[Place].construct(None, **{**CHAT, "choices": [choice]})
    made = answer(outcome_of('```\n{"country": "Peru"}\n```'), like, kind=Place)
    assert isinstance(made, ParsedChatCompletion)
    assert made.choices[0].message.parsed == Place(country="Peru")
    assert answer(withheld(), like, kind=Place).choices[0].message.parsed is None
    with pytest.raises(UpstreamError, match=r"'large': the answer does not fit into Place: country: Field required"):
        answer(outcome_of("{}"), like, kind=Place)


def test_the_decision_goes_along_but_into_no_json() -> None:
    outcome, trace = judged(let_through())
    made = answer(outcome)
    before = made.model_dump_json()
    decided: Decided[Any] = Decided(made, outcome, trace)
    mark(made, [decided], 1.0)
    assert made.gate is decided
    assert made.choices[0].gate is decided
    assert made.model_dump_json() == before
    assert "gate" not in repr(made)
    assert made.to_dict() == json.loads(made.to_json())


def test_a_reply_that_is_none_is_told() -> None:
    with pytest.raises(UpstreamError, match=r"'mine': gave its client a reply that cannot be judged: .*no choices"):
        read_reply(ChatCompletion.construct(None, id="1", choices=[]), "mine")
    with pytest.raises(UpstreamError, match="cannot be judged"):
        read_reply("<html>", "mine")
    assert [each.text for each in read_reply(ChatCompletion.model_validate(CHAT), "mine").generations.choices] == [
        "China",
        "",
    ]


def _told(reply: Any, **how: Any) -> tuple[list[Any], list[Any]]:
    made = list(chunks(reply, include_usage=bool(how)))
    return [c["choices"][0]["delta"] for c in made if c["choices"]], made


def test_a_completion_is_told_in_pieces() -> None:
    deltas, made = _told(answer(outcome_of("Jiangsu, in China.")))
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content") or "" for delta in deltas) == "Jiangsu, in China."
    assert {chunk["object"] for chunk in made} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in made} == {"chatcmpl-7"}
    assert not any("usage" in chunk for chunk in made)
    assert made[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_refusal_and_calls_are_told_too() -> None:
    deltas, _ = _told(answer(withheld()))
    assert deltas[0] == {"role": "assistant", "content": None}
    assert "".join(delta.get("refusal") or "" for delta in deltas) == "I am not sure."
    deltas, _ = _told(answer(outcome_of("", CALL)))
    [calls] = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert (calls[0]["index"], calls[0]["id"], calls[0]["function"]["arguments"]) == (0, CALL.id, CALL.arguments)


def test_usage_comes_last_where_it_is_asked_for() -> None:
    _, made = _told(REPLY, include_usage=True)
    assert [chunk["usage"] for chunk in made[:-1]] == [None] * (len(made) - 1)
    assert (made[-1]["choices"], made[-1]["usage"]["total_tokens"]) == ([], 15)


def test_an_answer_with_other_words_is_not_the_reply_itself() -> None:
    said = replace(let_through(), text="China, most likely")
    assert answer(said).choices[0].message.content == "China, most likely"
    other = replace(let_through(), generation=Generation("China"))
    assert answer(other).choices[0].message.content == "China"
