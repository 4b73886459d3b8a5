"""Where more answers come from, and why there are none."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from gate.answer_shapes import Read
from gate.decorator.capturing import Request
from gate.decorator.more_answers import (
    again,
    again_later,
    in_a_sample,
    refusing,
    repeated,
    repeated_later,
    same_answer,
)
from gate.effects import Draws, Generate
from gate.errors import UpstreamError
from gate.ports import Profile
from gate.types import Cost, Generation, Message, Usage

ASKED = (Message("user", "Where is Nanjing?"),)
SAMPLE = Generate("mine", ASKED, n=2, temperature=1.0, max_tokens=9, part_of=Draws(None))
REPLY = {
    "model": "small-1",
    "choices": [{"message": {"role": "assistant", "content": "China"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1},
}


def read(value: Any) -> Read:
    return Read(Generation(str(value)), usage=Usage(1, 2), model="small-1")


def test_a_refusal_costs_nothing_and_says_why() -> None:
    with pytest.raises(UpstreamError, match="upstream 'mine': gives no more answers: so it is") as raised:
        refusing("gives no more answers: so it is", awaited=False).ask(SAMPLE)
    assert raised.value.cost == Cost()
    with pytest.raises(UpstreamError, match="so it is"):
        asyncio.run(refusing("so it is", awaited=True).ask(SAMPLE))


def test_again_calls_in_a_copy_of_the_callers_context() -> None:
    var: ContextVar[str] = ContextVar("var", default="")
    seen: list[tuple[str, bool]] = []

    def once() -> str:
        seen.append((var.get(), in_a_sample()))
        var.set("changed")
        return "China"

    token = var.set("the caller's")
    more = again(once, read, copy_context(), side_by_side=True)
    var.reset(token)
    thread = threading.Thread(target=more.ask, args=(SAMPLE,))
    thread.start()
    thread.join()
    assert more.ask(SAMPLE).choices == (Generation("China"),)
    assert seen == [("the caller's", True)] * 2
    assert (var.get(), in_a_sample()) == ("", False)
    assert (more.profile.n, more.anything, more.side_by_side) == (1, False, True)


def test_again_on_a_loop_marks_only_what_runs_for_the_sample() -> None:
    async def once() -> str:
        return str(in_a_sample())

    async def main() -> None:
        more = again_later(once, read, side_by_side=False)
        reply = await more.ask(SAMPLE)
        assert (reply.choices[0].text, reply.usage, reply.model) == ("True", Usage(1, 2), "small-1")
        assert not in_a_sample()
        assert not more.side_by_side

    asyncio.run(main())


def test_a_request_is_repeated_and_counted() -> None:
    asked, counted = [], []

    def create(**fields: Any) -> dict[str, Any]:
        asked.append((threading.get_ident(), fields))
        return REPLY

    async def create_later(**fields: Any) -> dict[str, Any]:
        return create(**fields)

    request = Request(create, {"model": "small-1", "messages": [{"role": "user", "content": "Hi"}]}, logprobs=False)
    more = repeated(request, None, lambda: counted.append(1), side_by_side=True)
    reply = more.ask(SAMPLE)
    assert (reply.choices[0].text, reply.usage, reply.model) == ("China", Usage(9, 1), "small-1")
    assert asked[0][1] == {
        "model": "small-1",
        "messages": [{"role": "user", "content": "Where is Nanjing?"}],
        "temperature": 1.0,
        "n": 2,
        "max_tokens": 9,
    }
    later = repeated_later(request, None, lambda: counted.append(1), side_by_side=True)
    assert asyncio.run(later.ask(SAMPLE)).choices == reply.choices
    assert asked[1][0] != threading.get_ident(), "a client that blocks is asked on a thread"
    awaited = Request(create_later, request.fields, logprobs=False, awaited=True)
    assert asyncio.run(repeated_later(awaited, None, lambda: None, side_by_side=True).ask(SAMPLE)) == reply
    assert counted == [1, 1]
    assert more.anything


def test_a_server_is_asked_for_nothing_it_may_not_take() -> None:
    def profile(known: Profile | None, *, logprobs: bool) -> Profile:
        request = Request(dict, {}, logprobs)
        return repeated(request, known, lambda: None, side_by_side=True).profile

    unknown = profile(None, logprobs=False)
    assert (unknown.n, unknown.seed, unknown.logprobs, unknown.top_logprobs) == (1, False, False, 0)
    assert (profile(None, logprobs=True).logprobs, profile(None, logprobs=True).top_logprobs) == (True, 5)
    known = profile(Profile(n=4, top_logprobs=20, stream=True, states=True), logprobs=True)
    assert (known.n, known.top_logprobs, known.seed, known.stream, known.states) == (4, 20, True, False, False)


@pytest.mark.parametrize(
    ("returned", "said", "same"),
    [
        ("China", " China\n", True),
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}', True),
        ("China.", "China", False),
        ("The answer is China", "China", False),
        ('{"a": 1}', '{"a": 2}', False),
        ("[" * 100_000, "China", False),
    ],
)
def test_what_the_model_said_is_recognised(returned: str, said: str, same: bool) -> None:
    assert same_answer(returned, said) is same
