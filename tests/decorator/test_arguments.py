"""Where the question is among the arguments, and which of them serve for another call."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.decorator.arguments import asks, fresh, used_up
from gate.errors import ConfigError, RequestError
from gate.types import Message, Question


def named(question: str, context: str) -> None: ...
def by_name(model: str, *, query: str = "Where is Oslo?") -> None: ...
def only_text(topic: str, depth: int) -> None: ...
def only_bare(topic, depth: int) -> None: ...  # type: ignore[no-untyped-def]
def two_texts(topic: str, style: str) -> None: ...
def two_named(question: str, messages: list[Any]) -> None: ...
def no_text(depth: int) -> None: ...
def nothing() -> None: ...
def keywords(**given: Any) -> None: ...
def method(self: Any, q: str) -> None: ...


def asked(function: Callable[..., Any], *args: Any, by: Any = None, **kwargs: Any) -> Question:
    return asks(function, by, "f").question(args, kwargs)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "text"),
    [
        (named, ("Where is Lagos?", "Africa"), {}, "Where is Lagos?"),
        (named, (), {"context": "Africa", "question": "Where is Lagos?"}, "Where is Lagos?"),
        (by_name, ("small",), {"query": "Where is Lima?"}, "Where is Lima?"),
        (by_name, ("small",), {}, "Where is Oslo?"),
        (only_text, ("Lagos", 3), {}, "Lagos"),
        (only_bare, ("Lagos", 3), {}, "Lagos"),
        (method, (object(), "Lagos"), {}, "Lagos"),
        (functools.partial(named, context="Africa"), ("Where is Lagos?",), {}, "Where is Lagos?"),
        (functools.partial(only_text, depth=3), ("Lagos",), {}, "Lagos"),
    ],
)
def test_the_question_is_found(function: Any, args: Any, kwargs: Any, text: str) -> None:
    assert asked(function, *args, **kwargs) == Question.from_text(text)


def test_a_parameter_can_be_named_or_the_question_made_of_all_arguments() -> None:
    assert asked(two_texts, "Lagos", "short", by="topic").text == "Lagos"
    assert asked(keywords, by="asked", asked="Lagos").text == "Lagos"
    made = asked(two_texts, "Lagos", style="short", by=lambda topic, style: f"{topic}, {style}")
    assert made.text == "Lagos, short"


@pytest.mark.parametrize(
    ("function", "question", "said"),
    [
        (two_texts, None, r"f: of its parameters \('topic', 'style'\) 'topic' and 'style' may be the question: name"),
        (two_named, None, r"'question' and 'messages' may be the question"),
        (no_text, None, r"\('depth'\) none looks like the question: name the parameter that holds it with question="),
        (nothing, None, r"\(none\) none looks like"),
        (keywords, None, r"\('given'\) none looks like"),
        (two_texts, "tpic", r"question='tpic' is none of its parameters \('topic', 'style'\)"),
        (iter, None, "its parameters cannot be read: give question=a function of them"),
    ],
)
def test_where_nobody_can_tell_it_is_refused_with_what_to_do(function: Any, question: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asks(function, question, "f")


@pytest.mark.parametrize("value", [3, None, b"Lagos", {"role": "user"}, object()])
def test_what_is_no_text_is_refused_without_a_word_of_it(value: object) -> None:
    with pytest.raises(TypeError, match=f"the argument 'question' is a {type(value).__name__}: a text, a conversation"):
        asked(named, value, "")


def test_what_is_missing_or_broken_is_refused() -> None:
    with pytest.raises(TypeError, match="the argument 'question', which holds the question, is missing"):
        asked(named, context="Africa")
    with pytest.raises(RequestError, match=r"messages\.1\.role must be one of"):
        asked(lambda messages: None, [{"role": "user", "content": "Hi"}, {"role": "?", "content": ""}])
    with pytest.raises(RequestError, match="the question is empty"):
        asked(named, " ", "")


def test_a_conversation_is_taken_over_as_it_is_now() -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Where is Lagos?"}]
    question = asked(lambda messages: None, messages)
    messages.append({"role": "assistant", "content": "Nigeria"})
    assert question.messages == (Message("system", "Be short."), Message("user", "Where is Lagos?"))


def test_what_is_read_once_does_not_serve_twice(tmp_path: Path) -> None:
    (tmp_path / "asked.txt").write_text("Where is Lagos?", encoding="utf-8")

    async def later() -> None: ...

    assert used_up(("Lagos", [1], {"a": {1}}, 3, None, range(3), tmp_path), {"k": ("x",)}) == ""
    with (tmp_path / "asked.txt").open(encoding="utf-8") as file:
        assert used_up((file,), {}) == "one of its arguments, a TextIOWrapper, is used up by the first call"
    assert "BytesIO" in used_up((), {"data": io.BytesIO()})
    assert "generator" in used_up(("Lagos", (each for each in "ab")), {})
    assert "list_iterator" in used_up(([iter([1])],), {})
    assert "zip" in used_up(({"pairs": zip((), (), strict=True)},), {})
    coroutine = later()
    assert "coroutine" in used_up((coroutine,), {})
    coroutine.close()


def test_containers_are_copied_to_the_bottom_and_what_they_hold_is_not() -> None:
    thing = object()
    given: dict[str, Any] = {"messages": [{"role": "user"}], "pair": ([1], {2}), "thing": thing, "raw": bytearray(b"a")}
    given["itself"] = given
    made = fresh(given)
    assert made["thing"] is thing
    assert made["itself"] is made
    given["messages"][0]["role"] = "system"
    given["messages"].append({})
    given["pair"][0].append(2)
    given["pair"][1].add(3)
    given["raw"].append(1)
    assert made["messages"] == [{"role": "user"}]
    assert made["pair"] == ([1], {2})
    assert made["raw"] == b"a"
