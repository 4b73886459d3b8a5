"""Answers as one object and in pieces: read, and another written in their likeness."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gate.decorator.shaped import Pieces, Whole
from gate.types import Action, Cost, Generation, Outcome, ToolCall, Usage
from tests.decorator.chunks import chunk

WHOLE, PIECES = Whole(), Pieces()


def outcome(text: str, **more: Any) -> Outcome:
    return Outcome(Action.ANSWER, text, (), Cost(), Generation(text, **more), "large")


def test_a_whole_answer_is_read_by_its_shape() -> None:
    assert WHOLE.read("Nigeria", "f").generation == Generation("Nigeria")
    assert WHOLE.read({"country": "Nigeria"}, "f").generation.text == '{"country": "Nigeria"}'
    assert WHOLE.written(outcome("Kenya"), "Nigeria") == "Kenya"
    assert WHOLE.written(outcome('{"country": "Kenya"}'), {"country": "Nigeria"}) == {"country": "Kenya"}


def test_what_is_no_answer_names_the_function_and_the_type() -> None:
    with pytest.raises(TypeError, match=r"^f returned None, which is no answer: cannot read an answer off a NoneType"):
        WHOLE.read(None, "f")
    with pytest.raises(TypeError, match=r"^f returned a object, which is no answer: "):
        WHOLE.read(object(), "f")
    with pytest.raises(
        TypeError, match=r"a generator, .* \(if it comes in pieces, guard a generator that yields them\)"
    ):
        WHOLE.read((each for each in "ab"), "f")
    with pytest.raises(ValueError, match=r"^f returned a dict, which holds no answer: "):
        WHOLE.read({"object": "chat.completion", "choices": []}, "f")

    async def later() -> str:
        return "Nigeria"

    coroutine = later()
    with pytest.raises(TypeError, match="guard an 'async def' that awaits it"):
        WHOLE.read(coroutine, "f")
    coroutine.close()
    loop = asyncio.new_event_loop()
    with pytest.raises(TypeError, match="guard an 'async def' that awaits it"):
        WHOLE.read(loop.create_future(), "f")
    loop.close()


def test_pieces_of_text_are_joined() -> None:
    assert PIECES.read(("Ni", "geria"), "f").generation == Generation("Nigeria")
    assert PIECES.read((), "f").generation == Generation("")
    assert PIECES.written(outcome("Kenya"), ("Ni", "geria")) == ("Kenya",)
    with pytest.raises(ValueError, match="no piece has text"):
        PIECES.written(outcome("Kenya"), ())


def test_chunks_are_put_together_with_all_they_tell() -> None:
    logprob = {"content": [{"token": "Ni", "logprob": -0.1, "bytes": None, "top_logprobs": []}], "refusal": None}
    rest = {"content": [{"token": "geria", "logprob": -0.2, "bytes": None, "top_logprobs": []}], "refusal": None}
    used = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    pieces = (
        chunk("", delta={"role": "assistant"}),
        chunk("Ni", choice={"logprobs": logprob}),
        chunk("geria", choice={"logprobs": rest}),
        chunk(None, "length"),
        chunk(choices=[], usage=used),
    )
    read = PIECES.read(pieces, "f")
    assert (read.generation.text, read.generation.finish_reason) == ("Nigeria", "length")
    assert [(token.token, token.logprob) for token in read.generation.tokens or ()] == [("Ni", -0.1), ("geria", -0.2)]
    assert (read.usage, read.model) == (Usage(9, 2), "small-1")
    assert PIECES.read((chunk("Ni"), "geria"), "f").generation.text == "Nigeria"


def test_a_call_of_a_tool_comes_in_parts() -> None:
    begun = {"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    pieces = (chunk(delta={"tool_calls": [begun]}), chunk(delta={"tool_calls": [rest]}), chunk(None, "tool_calls"))
    assert PIECES.read(pieces, "f").generation.tool_calls == (ToolCall("1", "look", '{"at": 1}'),)


def test_another_answer_comes_in_the_likeness_of_the_chunks() -> None:
    pieces = (chunk("", delta={"role": "assistant"}), chunk("Ni"), chunk("geria"), chunk(None, "stop"))
    first, last = PIECES.written(outcome("Kenya"), pieces)
    assert (first.choices[0].delta.content, first.choices[0].finish_reason) == ("Kenya", None)
    assert (last.choices[0].delta.content, last.choices[0].finish_reason) == (None, "stop")
    assert PIECES.read((first, last), "f").generation.text == "Kenya"
    assert pieces[1].choices[0].delta.content == "Ni"
    with pytest.raises(ValueError, match="calls of tools"):
        PIECES.written(outcome("", tool_calls=(ToolCall("1", "look", "{}"),)), pieces)


def test_objects_that_only_look_like_chunks_will_do() -> None:
    said = SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content="Nigeria"))])
    ended = SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=None), finish_reason="length")])
    read = PIECES.read((said, ended, SimpleNamespace(choices=[])), "f")
    assert (read.generation.text, read.generation.finish_reason) == ("Nigeria", "length")
    first, _ = PIECES.written(outcome("Kenya"), (said, ended))
    assert first.choices[0].delta.content == "Kenya"


@pytest.mark.parametrize("piece", [3, None, b"Ni", {"choices": []}, SimpleNamespace(choices=[1])])
def test_what_is_no_piece_is_refused(piece: object) -> None:
    with pytest.raises(TypeError, match=r"f yields .*: pieces of an answer are text, or chunks with"):
        PIECES.read(("Ni", piece), "f")
