"""What Python code asks and brings along: read as it is meant, copied, and refused by name where it is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from gate.decorator.questions import budget_of, given_of, passages_of, question_of, samples_of, tokens_of
from gate.errors import RequestError
from gate.types import Budget, Generation, Message, Passage, Question, TokenLogprob

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
USER = {"role": "user", "content": "Where is Lagos?"}
CALL = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


# --- what is asked -----------------------------------------------------------------------------------------------


def test_a_text_is_a_question_and_a_question_is_itself() -> None:
    made = question_of("Where is Lagos?")
    assert made == Question.from_text("Where is Lagos?")
    assert question_of(made) is made
    assert question_of(made, {"temperature": 0.5}).options == {"temperature": 0.5}
    mine = Question((Message("user", "x"),), {"seed": 1, "temperature": 0.1})
    assert question_of(mine, {"temperature": 0.5}).options == {"seed": 1, "temperature": 0.5}


def test_a_conversation_is_as_on_the_wire_with_images_and_tools() -> None:
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "a map"},
        USER,
    ]
    made = question_of(asked, {"tools": [TOOL], "temperature": 0, "stop": None})
    assert [message.role for message in made.messages] == [each["role"] for each in asked]
    assert made.messages[1] == Message("user", "What is this?", asked[1])
    assert made.messages[2].wire == asked[2]
    assert made.messages[4] == Message("user", "Where is Lagos?")
    assert made.text == "Where is Lagos?"
    assert made.options == {"tools": [TOOL], "temperature": 0}


def test_messages_of_the_clients_own_and_of_gates_own_are_taken_too() -> None:
    said = ChatCompletionMessage.model_validate({"role": "assistant", "content": None, "tool_calls": [CALL]})
    made = question_of((USER, said, {"role": "tool", "tool_call_id": "1", "content": "x"}, Message("user", "So?")))
    assert made.messages[1].wire == {"role": "assistant", "tool_calls": [CALL]}
    assert made.messages[3] == Message("user", "So?")


def test_what_is_changed_afterwards_changes_no_question() -> None:
    parts = [{"type": "text", "text": "What is this?"}, dict(IMAGE)]
    tools = [TOOL]
    made = question_of([{"role": "user", "content": parts}], {"tools": tools})
    parts.clear()
    tools.clear()
    wire = made.messages[0].wire
    assert wire is not None
    assert (len(wire["content"]), made.options["tools"]) == (2, [TOOL])


@pytest.mark.parametrize(
    ("asked", "param", "said"),
    [
        ("", "question", "empty"),
        (" \n", "question", "empty"),
        ([], "messages", "no user message"),
        ([{"role": "system", "content": "x"}], "messages", "no user message"),
        ([{"role": "user", "content": " "}], "messages", "empty"),
        ([USER, "Where?"], "messages.1", "an object"),
        ([USER, 7], "messages.1", "an object"),
        ([USER, {"role": "human", "content": "x"}], "messages.1.role", "one of system"),
        ([USER, {"role": "user", "content": 7}], "messages.1.content", "text or a list"),
        ([USER, {"role": "tool", "content": "x"}], "messages.1.tool_call_id", "which call"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages.0.content", "text or a list"),
        ([{"role": "user", "content": "x", "extra": b"\0"}], "messages.0.extra", "a bytes is none"),
        ([{"role": "user", "content": "x", "extra": {"n": math.nan}}], "messages.0.extra.n", "nan is no number"),
    ],
)
def test_a_conversation_that_no_server_would_take_is_refused_by_place(asked: Any, param: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        question_of(asked)
    assert caught.value.param == param


@pytest.mark.parametrize("asked", [None, 7, b"Where?", USER, object(), {USER["role"]}])
def test_what_is_no_question_is_a_type_error(asked: Any) -> None:
    with pytest.raises(TypeError, match=r"question: a text, a list of messages or a gate\.Question was expected"):
        question_of(asked)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": [TOOL]}, "tool_choice"),
        ({"model": "gpt"}, "model"),
        ({"n": 3}, "n"),
        ({"stream": True}, "stream"),
        ({"base_url": "http://elsewhere"}, "base_url"),
        ({"metadata": {"at": {1}}}, "metadata.at"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused_by_name(options: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        question_of("Where is Lagos?", options)
    assert caught.value.param == param


def test_options_that_are_nested_without_end_are_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(RequestError, match="nested too deep"):
        question_of("Where is Lagos?", {"metadata": endless})
    with pytest.raises(TypeError, match="options: a dict was expected, not a list"):
        question_of("Where is Lagos?", ["x"])  # type: ignore[arg-type]


# --- samples and passages ----------------------------------------------------------------------------------------


def test_samples_are_answers_of_any_shape_however_they_come() -> None:
    said = (Generation("a"), Generation("b"))
    assert samples_of(["a", "b"]) == samples_of(("a", "b")) == samples_of(each for each in "ab") == said
    assert samples_of(()) == samples_of([]) == samples_of(None) == ()


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ("China", "samples: a list of answers was expected, not one text"),
        (7, "samples: a list of answers was expected, not a int"),
        (["China", object()], r"samples\[1\]: cannot read an answer off a object"),
        ([b"China"], r"samples\[0\]: cannot read an answer"),
    ],
)
def test_samples_that_are_none_are_refused_by_place(samples: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        samples_of(samples)


def test_passages_are_texts_numbered_or_gates_own() -> None:
    mine = Passage("doc-7", "Lagos is in Nigeria.", title="Lagos")
    assert passages_of(["Lagos is a city.", mine]) == (Passage("1", "Lagos is a city."), mine)
    for wrong, said in (("text", "passages: a list"), ([7], r"passages\[0\]: a text"), (7, "passages: a list")):
        with pytest.raises(TypeError, match=said):
            passages_of(wrong)


# --- log-probabilities -------------------------------------------------------------------------------------------

CONTENT = [
    {"token": "Ni", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "Ni", "logprob": -0.5}]},
    {"token": "ger", "logprob": -0.25, "bytes": None, "top_logprobs": []},
]
READ = (TokenLogprob("Ni", -0.5, (("Ni", -0.5),)), TokenLogprob("ger", -0.25))


def completion() -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Niger"}}
    choice["logprobs"] = {"content": CONTENT, "refusal": None}
    made = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return ChatCompletion.model_validate(made)


@pytest.mark.parametrize(
    "form",
    [
        lambda: {"content": CONTENT},
        lambda: completion().choices[0].logprobs,
        lambda: CONTENT,
        lambda: completion().choices[0].logprobs.content,  # type: ignore[union-attr]
        lambda: READ,
        lambda: {"tokens": ["Ni", "ger"], "token_logprobs": [-0.5, -0.25], "top_logprobs": [{"Ni": -0.5}, None]},
        lambda: SimpleNamespace(tokens=["Ni", "ger"], token_logprobs=[-0.5, -0.25], top_logprobs=[{"Ni": -0.5}, {}]),
    ],
    ids=["dict", "object", "content", "objects", "own", "completions", "completions object"],
)
def test_log_probabilities_are_read_in_every_form_that_clients_have(form: Callable[[], object]) -> None:
    assert tokens_of(form()) == READ


def test_of_plain_numbers_the_tokens_stay_unknown() -> None:
    assert tokens_of([-0.5, 0, -math.inf]) == (
        TokenLogprob("", -0.5),
        TokenLogprob("", 0.0),
        TokenLogprob("", -10_000.0),
    )
    assert tokens_of(iter((-0.5,))) == (TokenLogprob("", -0.5),)


@pytest.mark.parametrize("nothing", [None, [], {"content": None}, SimpleNamespace(content=None)])
def test_where_there_are_none_none_are_known(nothing: object) -> None:
    assert tokens_of(nothing) is None


@pytest.mark.parametrize(
    ("logprobs", "error", "said"),
    [
        ([-0.1, math.nan], ValueError, r"logprobs\[1\] is nan"),
        ([0.5], ValueError, r"logprobs\[0\] is 0.5: a log-probability is a number of at most 0"),
        ([TokenLogprob("x", math.nan)], ValueError, r"logprobs\[0\] is nan"),
        ([{"token": "x", "logprob": 1.5}], ValueError, r"logprobs\[0\] is 1.5"),
        ([{"logprob": -1, "top_logprobs": [{"token": "y", "logprob": 2}]}], ValueError, r"top_logprobs\[0\] is 2"),
        ({"tokens": ["a"], "token_logprobs": [-1.0, -2.0]}, ValueError, "2 token_logprobs, 1 tokens"),
        (["-0.5"], TypeError, r"logprobs\[0\]: a number was expected, not a str"),
        ([True], TypeError, r"logprobs\[0\]: a number was expected, not a bool"),
        ([{"token": "x"}], TypeError, r"logprobs\[0\]: a number was expected, not a dict"),
        ("-0.5", TypeError, "logprobs: a list of numbers was expected, not a str"),
        (-0.5, TypeError, "logprobs: a list of numbers was expected, not a float"),
    ],
)
def test_what_is_no_log_probability_is_refused_by_place(logprobs: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        tokens_of(logprobs)


# --- all together ------------------------------------------------------------------------------------------------


def test_what_is_given_is_put_together() -> None:
    given = given_of("Niger", ["Niger", "Mali"], [-0.5, -0.25], ["Niamey is in Niger."], "small", True)
    assert given.draft == Generation("Niger", tokens=(TokenLogprob("", -0.5), TokenLogprob("", -0.25)))
    assert [sample.text for sample in given.samples] == ["Niger", "Mali"]
    assert (given.upstream, given.vouched, given.gather) == ("small", True, True)
    assert given.passages == (Passage("1", "Niamey is in Niger."),)
    assert not given_of("Niger").vouched


def test_an_answer_of_no_shape_is_refused() -> None:
    with pytest.raises(TypeError, match="answer: cannot read an answer off a object"):
        given_of(object())
    with pytest.raises(TypeError, match="written_by: the name of an upstream was expected, not a int"):
        given_of("x", written_by=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gather is 'all': give True, False or 'evidence'"):
        given_of("x", gather="all")  # type: ignore[arg-type]
    assert given_of("x", gather="evidence").gather == "evidence"


def test_a_budget_is_one_or_none() -> None:
    assert budget_of(None) is None
    assert budget_of(Budget(calls=2)) == Budget(calls=2)
    with pytest.raises(TypeError, match=r"budget: a gate\.Budget was expected, not a int"):
        budget_of(5)  # type: ignore[arg-type]
