"""What is read off calls: agreement of each argument, log-probabilities, and what is missing and why."""

from __future__ import annotations

import pytest

from gate.agents.call_readings import BOUNDS, Proposed, passed, proposed, read_calls
from gate.agents.tool_settings import Tool, tool_policy
from gate.signals.tool_call import argument_agreement
from gate.types import Generation, TokenLogprob, ToolCall
from tests.agents.made import POLICY, call, reply

PAY = tool_policy(POLICY).tool("pay")


def read(each: Proposed) -> tuple[dict[str, tuple[bool, float | None]], dict[str, float | None]]:
    assert isinstance(PAY, Tool)
    arguments = each.arguments(PAY, passed(each.call) or {})
    values = {r.signal: r.value for r in each.signals(arguments).readings}
    assert list(values) == list(BOUNDS)
    return {a.name: (a.critical, a.agreement) for a in arguments}, values


def test_arguments_are_held_against_the_samples() -> None:
    draft = call("pay", to="ann", amount=10, note="hi")
    samples = [
        reply(call("pay", to="Ann", amount=10.0, note="hello")),
        reply(call("pay", to="ann", amount=100, note="bye")),
        reply(call("look_up", city="Oslo")),
        Generation("I cannot."),
    ]
    (found,) = proposed(reply(draft), samples)
    arguments, values = read(found)
    assert arguments == {"to": (True, 0.5), "amount": (True, 0.25), "note": (False, 0.0)}
    assert values["call_agreement"] == pytest.approx(3 / 6)
    assert values["call_repeated"] == pytest.approx(2 / 6), "the note may differ"
    assert values["argument_agreement"] == pytest.approx((3 + 2 + 1) / 18)
    assert values["argument_agreement_min"] == pytest.approx(2 / 6)
    assert values["argument_logprob"] is None


def test_few_samples_that_agree_are_not_taken_for_many() -> None:
    draft = call("pay", to="ann", amount=10)
    few, many = (read(proposed(reply(draft), [reply(draft)] * n)[0])[1] for n in (2, 20))
    assert (few["argument_agreement_min"], many["argument_agreement_min"]) == (3 / 4, 21 / 22)


def test_an_argument_that_most_samples_pass_and_the_call_does_not_counts() -> None:
    draft, sample = call("pay", to="ann"), call("pay", to="ann", amount=10)
    arguments, values = read(proposed(reply(draft), [reply(sample)] * 4)[0])
    assert arguments == {"to": (True, 1.0), "amount": (True, 0.0)}
    assert values["argument_agreement_min"] == pytest.approx(1 / 6)
    assert values["call_repeated"] == pytest.approx(1 / 6)


def test_agreement_is_that_of_the_signal_of_the_same_name() -> None:
    draft = reply(call("pay", to={"name": "ann", "bank": 1}, amount=1))
    with_more, other = (
        call("pay", to={"name": "ann"}, amount=1, note="x", at=2),
        call("pay", to={"name": "bob"}, note="y"),
    )
    samples = [*[reply(with_more)] * 3, reply(other), Generation("no")]
    (found,) = proposed(draft, samples)
    assert {f"/pay/0{at}": share for at, share in (found.agreement or {}).items()} == pytest.approx(
        argument_agreement(draft, samples)
    )


def test_several_calls_of_a_tool_are_compared_in_their_order() -> None:
    first, second = call("pay", to="ann", amount=1), call("pay", to="bob", amount=2)
    found = proposed(reply(first, second), [reply(first, second), reply(first)])
    assert [read(each)[0]["to"] for each in found] == [(True, 1.0), (True, 0.5)]
    assert [each.named for each in found] == [2, 1]


def test_parts_of_an_argument_are_one_argument() -> None:
    draft = call("pay", to={"name": "ann", "bank": ["x", "y"]}, amount=1)
    sample = call("pay", to={"name": "ann", "bank": ["x", "z"]}, amount=1)
    arguments, _ = read(proposed(reply(draft), [reply(draft), reply(sample)])[0])
    assert arguments == {"to": (True, 0.5), "amount": (True, 1.0)}


def test_tools_and_arguments_of_any_name_are_told_apart() -> None:
    draft = ToolCall("", "a/b", '{"x/y~": 1, "": 2}')
    (found,) = proposed(reply(draft, draft.__class__("", "a", "{}")), [reply(draft)])[:1]
    assert found.agreement == {"/x~1y~0": 1.0, "/": 1.0}


def test_tokens_speak_where_there_are_any() -> None:
    draft = call("pay", to="ann", amount=10)
    tokens = tuple(
        TokenLogprob(*pair)
        for pair in (('{"to": ', -0.25), ('"ann"', -0.5), (', "amount": ', -0.25), ("1", -1.0), ("0", -1.0), ("}", 0.0))
    )
    (found,) = proposed(Generation("", "tool_calls", tokens, (draft,)), [])
    arguments, values = read(found)
    assert arguments == {"to": (True, None), "amount": (True, None)}
    assert values["argument_logprob"] == pytest.approx((-0.5 - 2.0) / 2)
    assert values["argument_logprob_min"] == -2.0, "of the whole value, not of a token"
    assert values["reply_logprob"] == pytest.approx(-0.5)
    assert values["reply_logprob_sum"] == -3.0
    assert values["argument_agreement"] is None


def test_what_is_missing_says_why() -> None:
    (found,) = proposed(reply(call("pay")), [])
    missing = {r.signal: r.missing for r in found.signals(()).readings}
    assert missing["call_agreement"] == "no samples were drawn"
    assert missing["argument_logprob_min"] == "no log-probabilities of the tokens"
    (found,) = proposed(reply(call("pay")), [reply(call("pay"))])
    assert {r.signal: r.missing for r in found.signals(()).readings}[
        "argument_agreement"
    ] == "the call has no such argument"


def test_calls_come_in_many_shapes() -> None:
    one = call("pay", to="ann", amount=1)
    assert read_calls(one).generation.tool_calls == (one,)
    assert read_calls([one, one]).generation.tool_calls == (one, one)
    assert read_calls(reply(one)).generation.tool_calls == (one,)
    assert read_calls("no call").generation.tool_calls == ()
    with pytest.raises(TypeError, match="cannot read an answer off a set"):
        read_calls({1})


def test_arguments_that_are_no_object_are_none() -> None:
    assert passed(ToolCall("", "f", "")) == {}
    assert [passed(ToolCall("", "f", text)) for text in ("[1]", "{", "NaN")] == [None] * 3
