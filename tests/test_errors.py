"""The error tree as drawn and as it is, and what the messages tell the one who reads them."""

from __future__ import annotations

import contextlib
import importlib
import pickle
import pkgutil
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gate
from gate import errors
from gate.decorator.decided import Abstained
from gate.errors import (
    AnswerWithheld,
    ConfigError,
    EvidenceUnavailable,
    GateError,
    MissingExtra,
    RequestError,
    UnknownName,
    UpstreamError,
    UpstreamTimeout,
    first_of,
    trace_of,
)
from gate.traces import TraceRecord
from gate.types import Action, Cost, Decision, Outcome, SignalVector, Stage, Step


def drawn() -> Iterator[tuple[str, str]]:
    """(child, parent) of every branch of the tree in the module's docstring."""
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"^( +)((?:│ *)*(?:[├└]─ )?)([A-Z]\w+)", line)
        if branch:
            depth, name = branch.start(3), branch[3]
            above = [(at, parent) for at, parent in above if at < depth]
            if above:
                yield name, above[-1][1]
            above.append((depth, name))


def classes(kind: type[GateError]) -> set[type[GateError]]:
    ours = {child for child in kind.__subclasses__() if child.__module__.split(".")[0] == "gate"}
    return {kind}.union(*(classes(child) for child in ours))


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    for module in pkgutil.walk_packages(gate.__path__, "gate."):
        if not module.name.endswith("__main__") and not module.name.startswith("gate.engine_plugin."):
            with contextlib.suppress(MissingExtra):  # what fits into other libraries needs them
                importlib.import_module(module.name)  # what is loaded inside vLLM is not imported without it
    real = classes(GateError)
    assert dict(drawn()) == {kind.__name__: kind.__bases__[0].__name__ for kind in real - {GateError}}
    assert len(real) <= 11
    assert sorted(kind.__name__ for kind in real) == errors.__all__
    assert all(kind.__doc__ and len(kind.__bases__) == 1 for kind in real)


def test_every_error_has_room_for_a_trace_and_a_cost() -> None:
    for error in (GateError("x"), ConfigError("x"), UpstreamError("small", "x"), EvidenceUnavailable("x")):
        assert error.trace is None
        assert error.cost is None
    assert EvidenceUnavailable("nothing found", Cost(seconds=1.0)).cost == Cost(seconds=1.0)


def test_the_trace_is_found_on_an_error_of_any_kind_also_in_groups() -> None:
    trace = TraceRecord("feed", "now", "mine", "abc", False, ())
    fault = RuntimeError("x")
    grouped = ExceptionGroup("two", [ExceptionGroup("one", [fault]), ValueError("y")])
    assert trace_of(grouped) is None
    vars(fault)["trace"] = trace
    assert first_of(grouped) is first_of(fault) is fault
    assert trace_of(grouped) is trace_of(fault) is trace


def test_a_config_error_says_where_when_it_knows() -> None:
    known, unknown = ConfigError("no such key", where="a.yaml:3"), ConfigError("no such key")
    assert (str(known), known.where) == ("a.yaml:3: no such key", "a.yaml:3")
    assert (str(unknown), unknown.where) == ("no such key", "")


def test_an_unknown_name_suggests_the_nearest_and_lists_the_rest() -> None:
    error = UnknownName("signal", "vote_shaer", ["margin", "vote_share", "entropy"], where="a.yaml:7")
    assert str(error) == (
        "a.yaml:7: unknown signal 'vote_shaer'; did you mean 'vote_share'? known: entropy, margin, vote_share"
    )
    assert error.name == "vote_shaer"


def test_a_name_near_to_nothing_gets_no_suggestion() -> None:
    assert str(UnknownName("signal", "qqq", ["margin"])) == "unknown signal 'qqq'; known: margin"
    assert str(UnknownName("signal", "qqq", [])) == "unknown signal 'qqq'; known: none"


@given(st.text(), st.lists(st.text()))
def test_any_name_can_be_unknown(name: str, known: list[str]) -> None:
    said = str(UnknownName("part", name, known))
    assert repr(name) in said
    assert all(each in said for each in known)


def test_a_missing_extra_names_the_line_to_type() -> None:
    error = MissingExtra("scipy", "tune")
    assert isinstance(error, ConfigError)
    assert str(error) == "this needs the package 'scipy'; install it with: pip install 'gate-llm[tune]'"


def test_a_request_error_is_the_callers_fault_unless_said_otherwise() -> None:
    plain, full = RequestError("no"), RequestError("no", param="n", status=422, code="bad_n", retry_after=2.5)
    assert (plain.param, plain.status, plain.code, plain.retry_after) == (None, 400, None, None)
    assert (full.param, full.status, full.code, full.retry_after) == ("n", 422, "bad_n", 2.5)


def test_an_upstream_error_names_the_upstream_and_the_cause() -> None:
    error = UpstreamError("small", "is busy", status=429, retryable=True, retry_after=2.5)
    assert str(error) == "upstream 'small': is busy"
    assert (error.upstream, error.cause, error.status) == ("small", "is busy", 429)
    assert (error.retryable, error.retry_after) == (True, 2.5)
    assert not UpstreamError("small", "said nonsense").retryable


def test_what_the_server_said_stands_apart_from_the_message_for_it_may_quote_the_user() -> None:
    error = UpstreamError("small", "refused with status 400", said="Invalid prompt: my diary", param="messages")
    assert str(error) == "upstream 'small': refused with status 400"
    assert error.in_full == "upstream 'small': refused with status 400: Invalid prompt: my diary"
    assert UpstreamError("small", "is down").in_full == "upstream 'small': is down"


def test_a_timeout_is_caught_as_a_failure_of_its_upstream() -> None:
    with pytest.raises(UpstreamError, match="'small'"):
        raise UpstreamTimeout("small", "no answer in 30 s")


def withheld() -> AnswerWithheld:
    step = Step(Decision(Action.ABSTAIN, "uncertain", Stage("small")), SignalVector(()), Cost())
    outcome = Outcome(Action.ABSTAIN, "I am not sure.", (step,), Cost())
    return AnswerWithheld(Abstained(outcome, TraceRecord("feed", "now", "mine", "abc", False, (step,))))


def test_a_withheld_answer_says_what_may_be_said_and_carries_why() -> None:
    error = withheld()
    assert str(error) == error.abstained.text == "I am not sure."
    assert (error.abstained.reason, trace_of(error)) == ("uncertain", error.abstained.trace)


@pytest.mark.parametrize(
    "error",
    [
        withheld(),
        UpstreamError("small", "is down", said="off", param="n", status=503, retryable=True, retry_after=2.0),
        UpstreamTimeout("small", "late"),
        UnknownName("signal", "vote", ["vote_share"], where="mine.yaml:3"),
        MissingExtra("scipy", "tune"),
        RequestError("no", param="n", status=404),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: GateError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
