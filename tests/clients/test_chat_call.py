from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import APIStatusError
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from gate.clients.chat_call import Attempts, ChatCall
from gate.clients.gating import Gating
from gate.clients.held_stream import _HTTP
from gate.decorator.gate import Gate
from gate.effects import Generate
from gate.types import Budget, Cost, Message
from tests.answer_shapes.answers import CHAT
from tests.clients.policies import gateway

http: Any = __import__(_HTTP)
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Where is Lagos?"}]}


def error(status: int, body: Any) -> APIStatusError:
    response = http.Response(status, request=http.Request("POST", "http://127.0.0.1/v1"), json=body)
    told = body.get("error", body) if isinstance(body, dict) else body
    return APIStatusError(f"Error code: {status} - {body}", response=response, body=told)


def says(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "param": param}}


@pytest.fixture
def gating(tmp_path: Path) -> Gating:
    return Gating(Gate(gateway(tmp_path)))


def attempts(gating: Gating) -> Attempts:
    return ChatCall(gating, ASKED).drafting()


@pytest.mark.parametrize(
    "told",
    [
        error(400, says("Unsupported parameter", "logprobs")),
        error(403, says("You are not allowed to request logprobs from this model")),
        error(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs"}]}),
    ],
)
def test_a_field_of_gates_own_is_left_out_where_it_is_refused(gating: Gating, told: APIStatusError) -> None:
    drafting = attempts(gating)
    assert drafting.fields["logprobs"]
    drafting.refused(told)
    assert drafting.fields == ASKED
    assert drafting.calls == 2
    assert attempts(gating).fields["logprobs"]  # it is not known yet whether that helped
    drafting.answered()
    assert attempts(gating).fields == ASKED


@pytest.mark.parametrize(
    "told",
    [
        error(400, says("Unsupported parameter", "temperature")),
        error(400, says("the model does not exist")),
        error(500, says("Unsupported parameter", "logprobs")),
        error(502, "<html>logprobs not supported</html>"),
        error(400, says("Unsupported parameter", "seed")),  # the draft had none
        error(400, says("no", "max_tokens")),
    ],
)
def test_every_other_error_is_the_callers_to_see(gating: Gating, told: APIStatusError) -> None:
    drafting = attempts(gating)
    with pytest.raises(APIStatusError) as caught:
        drafting.refused(told)
    assert caught.value is told
    assert drafting.calls == 1


def test_a_field_of_the_callers_own_is_never_left_out(gating: Gating) -> None:
    drafting = ChatCall(gating, {**ASKED, "logprobs": True, "top_logprobs": 5}).drafting()
    with pytest.raises(APIStatusError):
        drafting.refused(error(400, says("Unsupported parameter", "logprobs")))


def test_a_limit_is_given_by_its_newer_name_where_the_older_is_refused(gating: Gating) -> None:
    effect = Generate("mine", (Message("user", "?"),), cap=100)
    gathering = ChatCall(gating, ASKED).gathering(effect)
    gathering.refused(error(400, says("Use 'max_completion_tokens' instead.", "max_tokens")))
    assert (gathering.fields["max_completion_tokens"], "max_tokens" in gathering.fields) == (100, False)


def test_fields_that_were_not_given_are_none(gating: Gating) -> None:
    call = ChatCall(gating, {**ASKED, "temperature": openai.omit, "stream": openai.NOT_GIVEN})
    assert call.drafting().fields.keys() == {"model", "messages", "logprobs", "top_logprobs"}
    assert not call.streams


def test_the_tightest_budget_holds(gating: Gating) -> None:
    gating.budget = Budget(calls=3, seconds=9.0)
    body = {"gate": {"budget": {"seconds": 2.0, "calls": 5}}}
    assert ChatCall(gating, {**ASKED, "extra_body": body}).budget == Budget(calls=3, seconds=2.0)
    assert ChatCall(gating, ASKED).budget == gating.budget


def test_each_answer_is_a_question_of_its_own(gating: Gating) -> None:
    call = ChatCall(gating, {**ASKED, "n": 2, "seed": 4})
    brought = call.brought(ChatCompletion.model_validate(CHAT), 2, lambda effect: None)
    assert [question.options["seed"] for question, _ in brought] == [4, 5]
    assert [given.draft.finish_reason for _, given in brought] == ["stop", "tool_calls"]
    assert (brought[0][1].cost.calls, brought[0][1].cost.tokens, brought[1][1].cost) == (2, 15, Cost())


def test_what_answers_are_parsed_into_is_told_to_other_models_as_a_schema(gating: Gating) -> None:
    class Place(BaseModel):
        country: str

    @dataclass
    class Spot:
        country: str

    for kind, strict in ((Place, True), (Spot, False)):
        call = ChatCall(gating, {**ASKED, "response_format": kind}, parsing=True)
        [(question, _)] = call.brought(
            ChatCompletion.model_validate({**CHAT, "choices": CHAT["choices"][:1]}), 1, print
        )
        told = question.options["response_format"]
        assert (told["type"], told["json_schema"]["strict"]) == ("json_schema", strict)
        assert told["json_schema"]["schema"]["properties"].keys() == {"country"}
        assert call.drafting().fields["response_format"] is kind
    plain = {"type": "json_object"}
    assert (
        ChatCall(gating, {**ASKED, "response_format": plain}, parsing=True).drafting().fields["response_format"]
        == plain
    )
    with pytest.raises(TypeError, match="answers cannot be parsed into"):
        ChatCall(gating, {**ASKED, "response_format": type("Odd", (), {})}, parsing=True)
