"""Guarded functions as Python objects: what `inspect`, `typing`, classes and `pickle` make of them."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.decorator.binding import name_of
from tests.decorator.policies import by_draft


@gate.guard
def plain(question: str, *, deep: bool = False) -> str:
    """Answers it."""
    return "China"


@gate.guard(default=None)
async def later(question: str) -> str:
    return "China"


@gate.guard
def pieces(question: str) -> Iterator[str]:
    yield "China"


@gate.guard
async def pieces_later(question: str) -> AsyncIterator[str]:
    yield "China"


class Desk:
    def __init__(self, name: str) -> None:
        self.name = name

    @gate.guard(remember=10)
    def ask(self, question: str) -> str:
        """Answers at a desk."""
        return f"{self.name}: {question}"

    @gate.guard
    async def aask(self, question: str) -> str:
        return f"{self.name}: {question}"

    @gate.guard
    def pieces(self, question: str) -> Iterator[str]:
        yield from (self.name, ": ", question)

    @gate.guard
    @classmethod
    def of(cls, question: str) -> str:
        return f"{cls.__name__}: {question}"

    @classmethod
    @gate.guard
    def of_below(cls, question: str) -> str:
        return f"{cls.__name__}: {question}"

    @gate.guard
    @staticmethod
    def still(question: str) -> str:
        return question

    @staticmethod
    @gate.guard
    def still_below(question: str) -> str:
        return question


class FrontDesk(Desk): ...


ALL = (plain, later, pieces, pieces_later)


def through(path: Path, guarded: Any) -> Any:
    return guarded.with_policy(path)


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_draft(tmp_path_factory.mktemp("sure"))


def test_it_is_of_the_kind_it_guards_to_whoever_asks() -> None:
    kinds = [
        (inspect.iscoroutinefunction(each), inspect.isgeneratorfunction(each), inspect.isasyncgenfunction(each))
        for each in ALL
    ]
    assert kinds == [(False, False, False), (True, False, False), (False, True, False), (False, False, True)]
    of_call = [
        (inspect.iscoroutinefunction(each.__call__), inspect.isgeneratorfunction(each.__call__))
        for each in (plain, later, pieces)
    ]
    assert of_call == [(False, False), (True, False), (False, True)], "so Starlette asks of an object"
    assert asyncio.iscoroutinefunction(later)
    assert inspect.iscoroutinefunction(functools.partial(later))
    desk = Desk("a")
    assert inspect.iscoroutinefunction(desk.aask)
    assert inspect.isgeneratorfunction(desk.pieces)


def test_its_name_words_signature_and_hints_are_the_functions_own() -> None:
    assert (plain.__name__, plain.__qualname__, plain.__module__, plain.__doc__) == (
        "plain",
        "plain",
        __name__,
        "Answers it.",
    )
    assert str(inspect.signature(plain)) == "(question: 'str', *, deep: 'bool' = False) -> 'str'"
    assert typing.get_type_hints(plain) == {"question": str, "deep": bool, "return": str}
    assert plain.__wrapped__ is plain.unguarded
    assert inspect.getsource(plain) == inspect.getsource(plain.unguarded)
    desk = Desk("a")
    assert str(inspect.signature(desk.ask)) == "(question: 'str') -> 'str'"
    assert str(inspect.signature(Desk.ask)) == "(self, question: 'str') -> 'str'"
    assert str(inspect.signature(Desk.of)) == "(question: 'str') -> 'str'"
    assert inspect.getdoc(desk.ask) == "Answers at a desk."
    assert typing.get_type_hints(desk.ask) == {"question": str, "return": str}
    assert repr(Desk.ask) == "<guarded Desk.ask>"
    assert repr(desk.ask).startswith("<guarded Desk.ask of <")


def test_what_only_says_that_it_is_async_is_taken_at_its_word(sure: Path) -> None:
    async def inner(question: str) -> str:
        return "China"

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(outer)
    else:
        vars(outer)["_is_coroutine"] = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    guarded = gate.guard(policy=sure)(outer)
    assert inspect.iscoroutinefunction(guarded)
    assert asyncio.run(guarded("Where is Nanjing?")) == "China"


def test_methods_are_bound_in_every_way(sure: Path) -> None:
    desk = FrontDesk("a")
    assert through(sure, desk.ask)("Hi") == "a: Hi"
    assert through(sure, Desk.ask)(desk, "Hi") == "a: Hi"
    assert through(sure, desk.ask).decided("Hi").value == "a: Hi"
    assert asyncio.run(through(sure, desk.aask)("Hi")) == "a: Hi"
    assert list(through(sure, desk.pieces)("Hi")) == ["a", ": ", "Hi"]
    for bound in (FrontDesk.of, desk.of, FrontDesk.of_below, desk.of_below):
        assert through(sure, bound)("Hi") == "FrontDesk: Hi"
    for bound in (Desk.still, desk.still, Desk.still_below, desk.still_below):
        assert through(sure, bound)("Hi") == "Hi"
    assert gate.guard(policy=sure)(Desk("b").aask.unguarded.__func__.__get__(desk))
    held = gate.guard(policy=sure)(desk.ask.unguarded)
    assert held("Hi") == "a: Hi"
    assert desk.ask.unguarded("Hi") == "a: Hi"


def test_a_class_holds_one_guard_for_all_its_objects(sure: Path) -> None:
    class Table:
        @gate.guard(policy=sure)
        def ask(self, question: str) -> str:
            return "China"

    Table().ask("Where is Nanjing?")
    Table().ask("Where is Lagos?")
    assert Table.ask.calls.total == len(Table().ask.decisions) == 2
    table = Table()
    assert table.ask == table.ask
    assert hash(table.ask) == hash(table.ask)
    assert table.ask != Table().ask
    assert table.ask != Table.ask
    assert Table.ask == Table.ask
    assert plain != 3


def test_a_new_guard_has_decisions_of_its_own(sure: Path) -> None:
    first = plain.with_policy(sure)
    first("Where is Nanjing?")
    other = first.with_options(remember=1, samples="again")
    assert (first.calls.total, other.calls.total, other.decisions) == (1, 0, ())
    other("Where is Nanjing?")
    other("Where is Lagos?")
    assert [decided.trace.question.text for decided in other.decisions] == ["Where is Lagos?"]
    assert first.unguarded is other.unguarded is plain.unguarded


def test_copies_and_pickles_are_the_function_itself() -> None:
    for each in ALL:
        assert pickle.loads(pickle.dumps(each)) is each
        assert copy.copy(each) is copy.deepcopy(each) is each
    assert pickle.loads(pickle.dumps(Desk.ask)) is Desk.ask
    desk = Desk("a")
    unpickled = pickle.loads(pickle.dumps(desk.ask))
    assert unpickled.unguarded("Hi") == "a: Hi"
    assert pickle.loads(pickle.dumps(Desk.of)) == Desk.of
    with pytest.raises((pickle.PicklingError, AttributeError)):  # as without a guard
        pickle.dumps(gate.guard(lambda question: "China"))


def test_a_method_with_another_policy_is_pickled_by_no_name_and_copied_as_it_is() -> None:
    desk = Desk("a")
    for bound in (desk.ask, desk.aask, desk.pieces, Desk.of):
        other: Any = bound.with_policy("strict")
        with pytest.raises(pickle.PicklingError, match="is not the same guard"):
            pickle.dumps(other)
        assert copy.copy(other) is other
        assert copy.deepcopy(other)._guarding is other._guarding
    own: Any = desk.ask.with_policy("strict")
    vars(desk)["own"] = own
    copied: Any = copy.deepcopy(desk)
    copied.name = "b"
    assert copied.own.unguarded("Hi") == "b: Hi", "bound to the copy, as other methods are"
    assert copied.own._guarding is own._guarding
    assert copy.deepcopy(Desk.of) == Desk.of


def test_attributes_of_the_function_are_there() -> None:
    def answer(question: str) -> str:
        return "China"

    vars(answer)["tags"] = ["geography"]
    assert gate.guard(answer).tags == ["geography"]  # type: ignore[attr-defined]


def test_names_are_found_wherever_they_stand() -> None:
    class Model:
        def __call__(self, question: str) -> str:
            return "China"

    assert name_of(functools.partial(functools.partial(later.unguarded))) == "later"
    assert name_of(Model()).endswith("Model")
    assert gate.guard(Model()).__name__.endswith("Model")
    assert gate.guard(Model()).unguarded("?") == "China"
