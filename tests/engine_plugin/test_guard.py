"""A fault ends what is guarded, and nothing else."""

from __future__ import annotations

import logging

import pytest

from gate.engine_plugin.guard import CannotRead, guarded


class Thing:
    def __init__(self) -> None:
        self.fault = ""
        self.calls = 0

    @guarded
    def divided(self, number: int, *, by: int = 1) -> float:
        self.calls += 1
        return number / by

    @guarded
    def refused(self) -> None:
        raise CannotRead("it is so")

    @guarded
    def stopped(self) -> None:
        raise KeyboardInterrupt


def test_what_works_is_as_without_the_guard() -> None:
    thing = Thing()
    assert thing.divided(6, by=3) == 2
    assert thing.fault == ""
    assert Thing.divided.__name__ == "divided"


def test_the_first_fault_is_told_once_and_is_the_last(caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    with caplog.at_level(logging.WARNING):
        assert thing.divided(1, by=0) is None
        assert thing.divided(6, by=3) is None
    assert thing.calls == 1
    assert thing.fault == "divided failed with ZeroDivisionError: division by zero"
    assert len(caplog.records) == 1
    assert thing.fault in caplog.text


def test_another_object_of_the_class_works_on() -> None:
    Thing().divided(1, by=0)
    assert Thing().divided(1) == 1


def test_who_stops_the_server_is_not_held_up() -> None:
    with pytest.raises(KeyboardInterrupt):
        Thing().stopped()


def test_a_reason_that_is_known_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    with caplog.at_level(logging.WARNING):
        assert thing.refused() is None
    assert thing.fault == "it is so"
    assert caplog.records[0].exc_info is None
