"""Making a call and asking about one, at once and on a loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gate.agents import ToolAction, ToolRefused, ToolVerdict
from gate.agents.making import arguments_of, at_once, awaited, making_of, unguarded, withheld
from gate.errors import AnswerWithheld
from gate.types import ToolCall
from tests.agents.made import call

LOOK_UP = call("look_up", city="Oslo")


def test_a_call_is_made_with_its_own_arguments_or_those_in_their_place() -> None:
    making = making_of(LOOK_UP, dict)
    assert (making(None), making({"city": "Lima"})) == ({"city": "Oslo"}, {"city": "Lima"})
    assert arguments_of(ToolCall("", "f", "no json")) == {}

    async def later(city: str) -> str:
        return city

    assert asyncio.run(making_of(LOOK_UP, later)(None)) == "Oslo"


def test_what_is_plain_runs_in_a_thread_and_what_is_not_is_awaited() -> None:
    async def later(n: int) -> int:
        return n

    async def main() -> None:
        assert await awaited(threading.get_ident) != threading.get_ident()
        assert await awaited(later, 3) == 3
        assert await awaited(lambda n: later(n), 4) == 4

    asyncio.run(main())
    with pytest.raises(TypeError, match="the tool is a coroutine: make the call with acall"):
        at_once(later(1), "the tool")
    assert at_once(5, "the tool") == 5


def test_a_refusal_is_returned_or_raised() -> None:
    refused = ToolRefused(ToolVerdict(LOOK_UP, ToolAction.REFUSE, "schema"))
    assert withheld(refused, False) is refused
    with pytest.raises(AnswerWithheld):
        withheld(refused, True)
    assert unguarded(print) is print
