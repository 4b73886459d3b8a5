"""Messages in files, and when two questions are the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.meanings import normalize
from gate.tuning.conversations import check_asks, digest, question_key, read_messages, wire_messages, without_nulls
from gate.types import Message, Passage, Question

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def test_messages_come_in_and_go_out_again() -> None:
    raw = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    messages = read_messages(raw)
    assert messages[0] == Message("system", "Be brief.")
    assert messages[1].content == "What is\nthis?"
    assert read_messages(wire_messages(messages)) == messages


def test_the_nulls_that_parquet_fills_in_are_none_of_it() -> None:
    (message,) = read_messages([{"role": "user", "content": "a?", "name": None, "tool_calls": None}])
    assert message == Message("user", "a?")
    assert without_nulls({"a": [None, {"b": None, "c": 0}]}) == {"a": [None, {"c": 0}]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("hello", "messages are no list"),
        ([], "or an empty one"),
        (["hello"], "messages.0 is no object"),
        ([{"content": "a"}], "messages.0.role is none of system"),
        ([{"role": "user", "content": "a"}, {"role": "User", "content": "a"}], r"messages\.1\.role"),
        ([{"role": "user"}], r"messages\.0\.content is neither"),
        ([{"role": "user", "content": 3}], r"messages\.0\.content is neither"),
        ([{"role": "user", "content": [{"type": "text"}]}], r"messages\.0\.content is neither"),
        ([{"role": "user", "content": "a", "temperature": float("nan")}], "nan is no number"),
    ],
)
def test_what_are_no_messages(raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_messages(raw)


def test_what_is_nested_too_deep_is_no_message() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deep"):
        read_messages([{"role": "user", "content": "a", "extra": deep}])


def test_somebody_has_to_ask_something() -> None:
    check_asks(read_messages([{"role": "user", "content": [IMAGE]}]))
    for raw, message in (("assistant", "no user message"), ("user", "every user message is empty")):
        with pytest.raises(ValueError, match=message):
            check_asks((Message(raw, " "),))


def asked(*turns: tuple[str, str]) -> Question:
    return Question(tuple(Message(*turn) for turn in turns))


def test_the_same_question_has_the_same_key() -> None:
    key = question_key(asked(("user", "Where is the Louvre?")))
    assert key == question_key(asked(("user", "  where is  Louvre ")))
    assert key == question_key(asked(("system", "Be brief."), ("user", "Where is the Louvre?")))
    others = (
        question_key(asked(("user", "Where is the Prado?"))),
        question_key(asked(("user", "Hello"), ("assistant", "Hello"), ("user", "Where is the Louvre?"))),
        question_key(asked(("user", "Where is the Louvre?")), (Passage("1", "In Paris"),)),
        question_key(Question(read_messages([{"role": "user", "content": [IMAGE]}]))),
    )
    assert len({key, *others}) == 5


def test_two_images_are_two_questions() -> None:
    text = {"type": "text", "text": "What is this?"}
    other = {**IMAGE, "image_url": {"url": "data:image/png;base64,BB"}}
    one, two = (question_key(Question(read_messages([{"role": "user", "content": [text, i]}]))) for i in (IMAGE, other))
    assert one != two


def test_a_digest_is_the_same_everywhere() -> None:
    assert digest({"b": 1, "a": ["é", "\ud83d"]}) == digest({"a": ["é", "\ud83d"], "b": 1}) == "ec39487cbf43b378"


@given(st.text(), st.text())
def test_the_key_is_that_of_the_normalised_text(one: str, other: str) -> None:
    same = question_key(Question.from_text(one)) == question_key(Question.from_text(other))
    assert same is (normalize(one) == normalize(other))
